"use strict";
(() => {
  for (const box of document.querySelectorAll(".compare")) {
    for (const side of ["before", "after"])
      box.querySelector("." + side).src = document.getElementById(box.dataset[side]).src;
    const slider = box.querySelector("input");
    const move = () => box.style.setProperty("--at", slider.value + "%");
    slider.addEventListener("input", move);
    move();
  }
  const viewer = document.getElementById("viewer");
  const stage = viewer.querySelector(".stage");
  const image = stage.querySelector("img");
  const caption = viewer.querySelector(".caption");
  const buttons = [...document.querySelectorAll("[data-zoom]")];
  let at = 0, scale = 1, x = 0, y = 0, held = null;

  const place = () => { image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
  const zoom = (factor, px, py) => {
    const next = Math.min(40, Math.max(0.2, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    place();
  };
  const centre = () => [stage.clientWidth / 2, stage.clientHeight / 2];
  const show = (index) => {
    at = (index + buttons.length) % buttons.length;
    const source = buttons[at].querySelector("img");
    image.src = source.src;
    image.alt = source.alt;
    caption.textContent = source.alt;
    if (!viewer.open) viewer.showModal();
    scale = Math.min(stage.clientWidth / source.naturalWidth, stage.clientHeight / source.naturalHeight);
    x = (stage.clientWidth - source.naturalWidth * scale) / 2;
    y = (stage.clientHeight - source.naturalHeight * scale) / 2;
    place();
  };
  buttons.forEach((button, index) => button.addEventListener("click", () => show(index)));
  viewer.querySelector(".close").addEventListener("click", () => viewer.close());
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    held = [event.clientX - x, event.clientY - y];
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragging");
  });
  stage.addEventListener("pointermove", (event) => {
    if (!held) return;
    x = event.clientX - held[0];
    y = event.clientY - held[1];
    place();
  });
  stage.addEventListener("pointerup", () => { held = null; stage.classList.remove("dragging"); });
  stage.addEventListener("dblclick", () => show(at));
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") show(at + 1);
    else if (event.key === "ArrowLeft") show(at - 1);
    else if (event.key === "+" || event.key === "=") zoom(1.4, ...centre());
    else if (event.key === "-") zoom(1 / 1.4, ...centre());
  });
})();
