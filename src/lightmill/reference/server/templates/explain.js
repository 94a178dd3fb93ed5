// A dropped or chosen file: its header goes into the text, its data stay here.
"use strict";
(() => {
  const text = document.querySelector("textarea[name=header]");
  const LARGEST = 2880 * 400;

  async function take(file) {
    if (!file) return;
    const start = new TextDecoder("latin1").decode(await file.slice(0, LARGEST).arrayBuffer());
    if (!start.startsWith("SIMPLE  =")) {
      text.value = start;
      return;
    }
    const cards = [];
    for (let at = 0; at < start.length; at += 80) {
      const card = start.slice(at, at + 80);
      if (card.startsWith("END ")) break;
      cards.push(card.trimEnd());
    }
    text.value = cards.filter(Boolean).join("\n");
  }

  document.getElementById("file").addEventListener("change", (event) => take(event.target.files[0]));
  text.addEventListener("dragover", (event) => { event.preventDefault(); text.classList.add("over"); });
  text.addEventListener("dragleave", () => text.classList.remove("over"));
  text.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    text.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
})();
