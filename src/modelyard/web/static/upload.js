// The upload page: what was chosen is listed, sent, and made a version; what is refused is told with what to do.
"use strict";

const SHOWN = 300; // rows of the list
const element = (id) => document.getElementById(id);
const form = element("upload");
const skipped = form.dataset.skipped.split("/");
let files = [], place = "", rows = new Map(), sending = null, came = null;

function sizeOf(bytes) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (bytes < 1000) return `${unit === "B" ? bytes : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
  return `${bytes.toFixed(1)} TB`;
}

// Marks that turn the direction of writing are written out, as on the other pages.
function plain(text) {
  return text.replace(/[\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (mark) => `⟨U+${mark.charCodeAt(0).toString(16).toUpperCase()}⟩`);
}

function tell(text, kind = "") {
  const told = element("told");
  told.hidden = !text;
  told.className = `notice ${kind}`;
  told.textContent = text;
}

function choose(found) {
  if (sending) return;
  const model = asModel(found, skipped);
  element("refused").hidden = true;
  came = null;
  if (!model.files.length) { tell("There is no file in that; choose a file, or a folder that has some.", "warn"); return; }
  if (model.files.length > MOST_FILES) { tell(`A version has ${MOST_FILES} files at most; these are ${model.files.length}.`, "bad"); return; }
  tell("");
  files = model.files;
  place = model.place;
  if (!element("name").value) element("name").value = model.name;
  list();
  element("chosen").hidden = false;
  element("drop").hidden = true;
  element("name").focus();
}

function list() {
  rows = new Map();
  const body = element("list");
  body.replaceChildren();
  for (const { path, file } of files.slice(0, SHOWN)) {
    const row = body.insertRow();
    const name = row.insertCell(), size = row.insertCell(), state = row.insertCell();
    name.className = "path";
    const isolated = document.createElement("bdi");
    isolated.textContent = plain(path);
    name.append(isolated);
    size.className = "number";
    size.textContent = sizeOf(file.size);
    const text = document.createElement("span"), bar = document.createElement("progress");
    text.textContent = "waiting";
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", plain(path));
    state.append(text, bar);
    rows.set(path, { text, bar });
  }
  const all = files.reduce((sum, { file }) => sum + file.size, 0);
  element("more").textContent = `${files.length} ${files.length === 1 ? "file" : "files"}, ${sizeOf(all)} in all.`
    + (files.length > SHOWN ? ` The first ${SHOWN} are listed.` : "");
  far(0, all, "Nothing sent yet");
}

function state(path, text, part) {
  const row = rows.get(path);
  if (!row) return;
  if (row.text.textContent !== text) row.text.textContent = text;
  row.bar.value = part;
  if (text === "reading") element("far").textContent = "Reading the files";
}

function far(bytes, total, text) {
  element("whole").value = total ? bytes / total : 1;
  element("far").textContent = text || `${sizeOf(bytes)} of ${sizeOf(total)} are there`;
}

function working(is) {
  element("go").disabled = is;
  element("cancel").hidden = !is;
  element("clear").hidden = is;
  for (const field of form.querySelectorAll("input")) field.disabled = is;
}

function card() {
  const said = {};
  for (const name of ["title", "summary", "task", "category", "licence"]) {
    const text = element(name).value.trim();
    if (text) said[name] = text;
  }
  const tags = element("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
  if (tags.length) said.tags = tags;
  return said;
}

async function send(trust) {
  const name = element("name").value.trim();
  element("refused").hidden = true;
  if (!/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/.test(name)) {
    tell("A name has 1 to 63 lower-case letters, digits, '-', '_' or '.', and begins and ends with a letter or a digit.", "bad");
    element("name").focus();
    return;
  }
  tell("");
  sending = new Sending(files, { state, far });
  working(true);
  try {
    if (!came) came = await sending.run();
    far(1, 1, "All is there; it is scanned and read now");
    const provenance = { source: { kind: "path", name: place }, client: "the upload page" };
    const body = { upload: came, provenance, ...trust };
    const said = card();
    if (Object.keys(said).length) body.card = said;
    const version = await sending.ask("POST", `/models/${name}/versions`, body);
    window.location.assign(`/models/${version.model}/versions/${version.number}`);
  } catch (error) {
    refuse(error);
  } finally {
    sending = null;
    working(false);
  }
}

function refuse(error) {
  if (error.name === "AbortError") {
    came = null;
    list();
    tell("Cancelled. Nothing became a version.", "warn");
    return;
  }
  if (came) far(1, 1, "All is there");
  element("trust").hidden = error.code !== "rejected_content";
  let text = error.message;
  if (error instanceof TypeError) text = "The platform does not answer. What was sent is kept for a day: press Upload when it is back, or choose the same files again.";
  if (error.code === "unauthenticated") text = "You are signed out. Sign in in another tab and press Upload again; what was sent is kept.";
  if (error.code === "not_found") came = null;
  element("reason").textContent = text;
  element("refused").hidden = false;
  element("refused").scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", (event) => { event.preventDefault(); if (!sending) send({}); });
element("because").addEventListener("input", () => element("because").setCustomValidity(""));
element("trusted").addEventListener("click", () => {
  const because = element("because").value.trim();
  if (!because) {
    element("because").setCustomValidity("Say why it is trusted.");
    element("because").reportValidity();
    return;
  }
  send({ trust_pickle: true, because });
});
element("cancel").addEventListener("click", () => sending && sending.cancel());
element("clear").addEventListener("click", () => {
  files = [];
  came = null;
  form.reset();
  tell("");
  for (const id of ["chosen", "refused"]) element(id).hidden = true;
  element("drop").hidden = false;
});
for (const id of ["choose-files", "choose-folder"]) {
  element(id).addEventListener("change", () => choose(picked(element(id))));
}
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    if (event.dataTransfer && [...event.dataTransfer.types].includes("Files")) {
      event.preventDefault(); // else the browser would open the file
      element("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    }
  });
}
document.addEventListener("drop", async (event) => {
  try {
    choose(await dropped(event.dataTransfer));
  } catch (error) {
    tell(`This cannot be read: ${error.message || error}`, "bad");
  }
});
