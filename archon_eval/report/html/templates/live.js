const line = document.getElementById("live");
const viewer = String(Math.random()).slice(2);
const known = new Map();
drawn.then(views => {
  charts.forEach(([id, spec], place) => known.set(id, {text: JSON.stringify(spec), view: views[place]}));
  poll();
});
const restore = (spec, before, after) => {
  for (const param of spec.params || []) if (param.bind) after.signal(param.name, before.signal(param.name));
  return after.runAsync();
};
const renew = async state => {
  const content = document.getElementById("content");
  const opened = [...content.querySelectorAll("details")].map(place => place.open);
  const kept = new Map();
  for (const [id, spec] of Object.entries(state.charts)) {
    const place = document.getElementById(id), old = known.get(id);
    if (place && old) kept.set(id, old.text === JSON.stringify(spec) ? place : place.offsetHeight);
  }
  content.innerHTML = state.content;
  document.title = state.title;
  content.querySelectorAll("details").forEach((place, n) => { place.open = place.open || !!opened[n]; });
  for (const [id, spec] of Object.entries(state.charts)) {
    const place = document.getElementById(id), before = known.get(id), was = kept.get(id);
    if (was instanceof Element) { place.replaceWith(was); continue; }
    if (was) place.style.minHeight = was + "px";
    const view = await draw(id, spec);
    if (before) { await restore(spec, before.view, view); before.view.finalize(); }
    known.set(id, {text: JSON.stringify(spec), view});
  }
  document.body.dataset.drawn = Object.keys(state.charts).length;
};
const poll = async () => {
  try {
    const reply = await fetch("/state?viewer=" + viewer + "&version=" + line.dataset.version, {cache: "no-store"});
    if (!reply.ok) throw new Error(reply.statusText);
    const state = await reply.json();
    if (state.finished) { location.reload(); return; }
    if (String(state.version) !== line.dataset.version) {
      await renew(state);
      line.dataset.version = state.version;
    }
    line.textContent = "This page follows the search.";
  } catch (error) {
    line.textContent = "The command that serves this page has ended or does not answer: this is what was last known.";
  }
  setTimeout(poll, 1500);
};
