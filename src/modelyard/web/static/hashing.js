// A worker: the digest of one file at a time, read in pieces, so that a file of any size takes a few megabytes.
"use strict";
importScripts("/static/sha256.js");

const PIECE = 4 * 1024 * 1024;

onmessage = async ({ data: { id, file } }) => {
  try {
    const hash = new Sha256();
    for (let start = 0; start < file.size; start += PIECE) {
      hash.update(new Uint8Array(await file.slice(start, start + PIECE).arrayBuffer()));
      postMessage({ id, read: Math.min(start + PIECE, file.size) });
    }
    postMessage({ id, sha256: hash.digest() });
  } catch (error) {
    postMessage({ id, error: String(error.message || error) });
  }
};
