// Which files were dropped or chosen, by their paths inside the model's folder.
"use strict";

const MOST_FILES = 10000;

// What a drop holds, folders with all that is in them. To be called before anything is awaited: a drop is read at once.
function dropped(transfer) {
  const lists = [...transfer.items].filter((item) => item.kind === "file").map((item) => {
    const entry = item.webkitGetAsEntry();
    if (entry) return below(entry, "");
    const file = item.getAsFile(); // dragged out of a program, not out of a folder
    return file ? [{ path: file.name, file }] : [];
  });
  return Promise.all(lists).then((found) => found.flat());
}

async function below(entry, folder) {
  const path = folder + entry.name;
  if (entry.isFile) return [{ path, file: await new Promise((done, failed) => entry.file(done, failed)) }];
  const reader = entry.createReader(), found = [];
  for (;;) { // a hundred at a time
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const each of some) found.push(...await below(each, `${path}/`));
    if (found.length > MOST_FILES) throw new Error(`There are more than ${MOST_FILES} files in ${path}.`);
  }
}

// What a chooser of files or of a folder holds.
function picked(input) {
  return [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

// One folder alone is the model's own: its name goes before the paths and names the model. What no model is made of stays out.
function asModel(found, skipped) {
  const kept = found.filter(({ path }) => !path.split("/").some((part) => skipped.includes(part)));
  const first = kept.length ? kept[0].path.split("/")[0] : "";
  const inFolder = kept.length > 0 && kept.every(({ path }) => path.startsWith(`${first}/`));
  const files = kept.map(({ path, file }) => ({ path: inFolder ? path.slice(first.length + 1) : path, file }));
  files.sort((one, other) => (one.path < other.path ? -1 : 1));
  return { files, place: first, name: nameOf(inFolder ? first : first.replace(/\.[^.]*$/, "")) };
}

// The nearest name that a model can have.
function nameOf(text) {
  const folded = text.toLowerCase().replace(/[^a-z0-9._-]+/g, "-").replace(/\.{2,}/g, ".");
  return folded.replace(/^[._-]+/, "").slice(0, 63).replace(/[._-]+$/, "");
}
