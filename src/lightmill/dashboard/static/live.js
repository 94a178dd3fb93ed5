// Follows the events of the observatory, and reads again the parts of the page they concern.
"use strict";
(() => {
  const REST = 700; // ms between two readings of the page
  const OFTEN = 60000; // ms after which everything is read again, whatever was heard
  const light = document.getElementById("live");
  const stream = document.body.dataset.stream;
  let concerned = new Set(), planned = 0, reading = false, readAt = 0;

  const show = (state, text) => {
    if (light) { light.className = state; light.textContent = text; }
  };

  // Elements that somebody is typing into, or has marked text in, are left alone.
  const inUse = (part) => {
    const active = document.activeElement;
    if (active && active !== document.body && part.contains(active) && active.matches("input, select, textarea")) return true;
    const marked = document.getSelection();
    return Boolean(marked && !marked.isCollapsed && part.contains(marked.anchorNode));
  };

  const replace = (old, fresh) => {
    if (old.innerHTML === fresh.innerHTML && old.className === fresh.className) return;
    const opened = new Map([...old.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
    const scrolled = new Map([...old.querySelectorAll("pre, .across")].map((one, n) => [n, [one.scrollLeft, one.scrollTop]]));
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    for (const one of fresh.querySelectorAll("details[id]")) if (opened.has(one.id)) one.open = opened.get(one.id);
    old.replaceWith(fresh);
    fresh.querySelectorAll("pre, .across").forEach((one, n) => { if (scrolled.has(n)) [one.scrollLeft, one.scrollTop] = scrolled.get(n); });
    if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  };

  const read = async () => {
    planned = 0;
    if (reading) { plan(); return; }
    reading = true;
    readAt = Date.now();
    const wanted = concerned;
    concerned = new Set();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin", redirect: "manual" });
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live][id]")) {
        const kinds = part.dataset.live.split(" ");
        if (!wanted.has("all") && !kinds.some((kind) => wanted.has(kind))) continue;
        const fresh = page.getElementById(part.id);
        if (inUse(part)) { for (const kind of kinds) concerned.add(kind); } else if (fresh) replace(part, fresh);
      }
    } catch { for (const kind of wanted) concerned.add(kind); }
    reading = false;
    if (concerned.size) plan(5 * REST);
  };

  const plan = (after = REST) => {
    if (planned || document.hidden) return;
    planned = setTimeout(read, Math.max(50, readAt + after - Date.now()));
  };

  const hear = (message) => {
    try { concerned.add(JSON.parse(message.data).subject); } catch { concerned.add("all"); }
    plan();
  };

  const listen = () => {
    const source = new EventSource(stream);
    source.onopen = () => { show("on", "live"); concerned.add("all"); plan(); };
    source.onmessage = hear;
    source.onerror = () => {
      show("off", "not live");
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10000);
    };
  };

  const said = (seconds) => {
    for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (seconds >= size) return `${Math.round(seconds / size)} ${name}`;
    return `${Math.max(0, Math.floor(seconds))} s`;
  };
  setInterval(() => {
    if (document.hidden) return;
    for (const one of document.querySelectorAll("time[data-at]")) one.textContent = said(Date.now() / 1000 - Number(one.dataset.at));
  }, 5000);
  setInterval(() => { concerned.add("all"); plan(); }, OFTEN);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && concerned.size) plan(); });

  if (stream && "EventSource" in window) listen();
})();
