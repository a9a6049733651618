// Sending files to the platform: digests first, then what it has not got, in parts, several at a time, again after a break.
"use strict";

const AT_ONCE = 4;
const PATIENCE = 60000; // milliseconds without a part that arrived before it is given up

class Refusal extends Error {
  constructor(body, status) {
    super(body.error || `The platform answered ${status}.`);
    this.code = body.code || "internal";
    this.status = status;
    this.passing = body.retryable === true || body.code === "conflict" || status >= 502;
  }
}

class Sending {
  // files: [{path, file}]; shown: {state(path, text, part), far(bytes, total)}
  constructor(files, shown) {
    this.files = files;
    this.shown = shown;
    this.abort = new AbortController();
    this.upload = null;
  }

  cancel() {
    this.abort.abort();
    if (this.worker) this.worker.terminate();
    if (this.upload) fetch(`/api/v1/uploads/${this.upload.id}`, { method: "DELETE" }).catch(() => {});
  }

  // The id of an upload that has come whole. Rejects with a Refusal, or an AbortError.
  async run() {
    await this.hash();
    const files = this.files.map(({ path, file, sha256 }) => ({ path, size: file.size, sha256 }));
    this.upload = await this.ask("POST", "/uploads", { files });
    let heard = Date.now(), wait = 200;
    for (;;) {
      this.tell();
      if (!this.upload.missing.length) return this.upload.id;
      const { arrived, failure } = await this.round();
      if (arrived) { heard = Date.now(); wait = 200; }
      if (failure) {
        if (Date.now() - heard > PATIENCE) throw failure;
        await this.pause(wait);
        wait = Math.min(2 * wait, 3000);
      }
      try {
        this.upload = await this.ask("GET", `/uploads/${this.upload.id}`);
      } catch (error) {
        if (!this.isPassing(error) || Date.now() - heard > PATIENCE) throw error;
      }
    }
  }

  // The digest of every file, one after the other, in a worker.
  async hash() {
    this.worker = new Worker("/static/hashing.js");
    try {
      for (const [id, entry] of this.files.entries()) {
        if (entry.sha256) continue;
        entry.sha256 = await new Promise((done, failed) => {
          this.abort.signal.addEventListener("abort", () => failed(new DOMException("Cancelled", "AbortError")));
          this.worker.onerror = (event) => failed(new Error(`The digests cannot be computed: ${event.message}.`));
          this.worker.onmessage = ({ data }) => {
            if (data.id !== id) return;
            if (data.read !== undefined) this.shown.state(entry.path, "reading", data.read / entry.file.size);
            if (data.error) failed(new Error(`${entry.path} cannot be read: ${data.error} Choose it again.`));
            if (data.sha256) done(data.sha256);
          };
          this.worker.postMessage({ id, file: entry.file });
        });
        this.shown.state(entry.path, "read", 1);
      }
    } finally {
      this.worker.terminate();
    }
  }

  // Send what is missing; whether something arrived, and what kept the rest from it.
  async round() {
    const size = this.upload.part_size, waiting = [], whole = new Map();
    for (const sha256 of this.upload.missing) {
      const { file } = this.files.find((entry) => entry.sha256 === sha256);
      if (file.size <= size) { waiting.push({ sha256, file, start: 0, end: file.size, tail: "" }); continue; }
      const come = new Set(this.upload.parts[sha256] || []);
      const left = { sha256, parts: 0 };
      for (let number = 0, start = 0; start < file.size; number++, start += size) {
        if (come.has(number)) continue;
        left.parts++;
        waiting.push({ sha256, file, start, end: Math.min(start + size, file.size), tail: `/parts/${number}`, left });
      }
      whole.set(sha256, left);
    }
    let arrived = false, failure = null;
    const work = async () => {
      while (waiting.length && !failure) {
        const piece = waiting.shift();
        try {
          await this.put(piece);
          arrived = true;
          if (piece.left && --piece.left.parts === 0) await this.ask("POST", `/uploads/${this.upload.id}/blobs/${piece.sha256}`);
        } catch (error) {
          if (!this.isPassing(error)) { waiting.length = 0; throw error; }
          failure = error;
        }
      }
    };
    for (const left of whole.values()) {
      // All parts came before, and the page was closed before they were put together.
      if (!left.parts) await this.ask("POST", `/uploads/${this.upload.id}/blobs/${left.sha256}`);
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return { arrived, failure };
  }

  async put({ sha256, file, start, end, tail }) {
    const body = file.slice(start, end); // the browser reads it while it sends
    const headers = { "content-type": "application/octet-stream" };
    if (tail && crypto.subtle) { // only on https and on this machine
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await body.arrayBuffer()));
      headers["content-digest"] = `sha-256=:${btoa(String.fromCharCode(...digest))}:`;
    }
    await this.fetch("PUT", `/uploads/${this.upload.id}/blobs/${sha256}${tail}`, { body, headers });
    this.sent.set(sha256, (this.sent.get(sha256) || 0) + end - start);
    this.show();
  }

  // What has come, as the platform said last.
  tell() {
    this.sent = new Map();
    const missing = new Set(this.upload.missing);
    for (const { sha256, file } of this.files) {
      const parts = this.upload.parts[sha256] || [], size = this.upload.part_size;
      const come = parts.reduce((sum, number) => sum + Math.min(size, file.size - number * size), 0);
      this.sent.set(sha256, missing.has(sha256) ? come : file.size);
    }
    this.show();
  }

  show() {
    let far = 0, total = 0;
    for (const { path, sha256, file } of this.files) {
      const come = Math.min(this.sent.get(sha256) || 0, file.size);
      far += come;
      total += file.size;
      this.shown.state(path, come === file.size ? "sent" : "sending", file.size ? come / file.size : 1);
    }
    this.shown.far(far, total);
  }

  async ask(method, path, body) {
    const headers = body ? { "content-type": "application/json" } : {};
    const answer = await this.fetch(method, path, { headers, body: body && JSON.stringify(body) });
    return answer.status === 204 ? null : answer.json();
  }

  async fetch(method, path, options) {
    const answer = await fetch(`/api/v1${path}`, { method, signal: this.abort.signal, ...options });
    if (answer.ok) return answer;
    throw new Refusal(await answer.json().catch(() => ({})), answer.status);
  }

  // Whether the same again may go well: the platform restarts, somebody else sends the same part.
  isPassing(error) {
    return error instanceof Refusal ? error.passing : error instanceof TypeError;
  }

  pause(milliseconds) {
    return new Promise((done, failed) => {
      setTimeout(done, milliseconds);
      this.abort.signal.addEventListener("abort", () => failed(new DOMException("Cancelled", "AbortError")));
    });
  }
}
