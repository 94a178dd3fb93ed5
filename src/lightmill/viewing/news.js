// Files that come and change while they are looked at.
const wait = (seconds) => new Promise((done) => { setTimeout(done, 1000 * seconds); });
const tellNews = ({ states, told }) => {
  $("news").hidden = false;
  $("states").replaceChildren(...Object.entries(states).map(([group, text]) => Object.assign(document.createElement("li"), { textContent: `${group}: ${text}` })));
  $("count-told").textContent = told.length;
  $("told").replaceChildren(...[...told].reverse().map((text) => Object.assign(document.createElement("li"), { textContent: text })));
};
const renew = async (found) => {
  const before = facts.files, was = before[state.file], now = found.files;
  tellNews(found.news);
  const same = before.length === now.length && before.every((one, n) => one.id === now[n].id);
  if (same && before.every((one, n) => one.version === now[n].version)) return;
  for (const [name, tile] of tiles) { // what has changed is shown until it has come anew
    const n = Number(name.split(" ")[1]);
    if (before[n]?.id !== now[n]?.id) tiles.delete(name);
    else if (before[n].version !== now[n].version) tile.stale = true;
  }
  const at = now.findIndex((one) => one.id === was.id), newest = now.reduce((best, one) => (one.version > best.version ? one : best));
  const grown = at < 0 || String(now[at].layers.map((one) => one.shape)) !== String(was.layers.map((one) => one.shape));
  facts.files = now;
  state.file = Math.max(at, 0);
  state.layer = Math.min(state.layer, file().layers.length - 1);
  if (!same) listFiles();
  redraw(); // tiles are asked for while the summary is made
  const follow = $("follow").checked && newest.group === (now[at]?.group ?? newest.group) && newest.id !== now[at]?.id;
  if (follow) await show({ file: now.indexOf(newest), layer: 0, plane: 0 }, { keep: !grown && at >= 0, fresh: true });
  else if (at < 0 || now[at].version !== was.version) await show({}, { keep: !grown });
};
const follow = async () => {
  while (!ready) await wait(0.05);
  for (let since = facts.news.version; ;) {
    try {
      const found = await answers.news(since);
      since = found.news.version;
      await renew(found);
    } catch (error) { note(error); await wait(1); }
  }
};
if (facts.news) { tellNews(facts.news); follow(); }
