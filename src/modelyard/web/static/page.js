// Fresh numbers every two seconds, and a button to copy. The pages work without either.
"use strict";

function addCopyButtons(root) {
  if (!navigator.clipboard) return;
  for (const element of root.querySelectorAll(".copyable")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy quiet";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(element.innerText.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    element.after(button);
  }
}

async function refresh(element) {
  if (document.hidden || window.getSelection().toString()) return;
  if (element.contains(document.activeElement)) return;
  try {
    const answer = await fetch(element.dataset.refresh, { headers: { accept: "text/html" } });
    if (answer.redirected) { window.location.reload(); return; }
    if (!answer.ok) return;
    const text = await answer.text();
    element.classList.remove("stale");
    if (text === element.shown) return;
    element.shown = text;
    element.innerHTML = text;
    addCopyButtons(element);
  } catch {
    element.classList.add("stale");
  }
}

addCopyButtons(document);
// The end of a log is what happened last.
for (const log of document.querySelectorAll(".log")) log.scrollTop = log.scrollHeight;
// Of a large lineage the version whose page this is.
for (const picture of document.querySelectorAll(".picture")) {
  const here = picture.querySelector(".here .box");
  if (!here) continue;
  picture.scrollTop = here.y.baseVal.value - picture.clientHeight / 2;
  picture.scrollLeft = here.x.baseVal.value - picture.clientWidth / 2;
}
for (const element of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => refresh(element), 2000);
}
