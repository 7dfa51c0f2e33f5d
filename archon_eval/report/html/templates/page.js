"use strict";
const show = id => {
  const place = document.getElementById(id);
  if (!place) return;
  document.querySelectorAll(".highlighted").forEach(old => old.classList.remove("highlighted"));
  for (let up = place; up; up = up.parentElement) if (up.tagName === "DETAILS") up.open = true;
  place.classList.add("highlighted");
  place.scrollIntoView({block: "center"});
};
const draw = (id, spec) =>
  vegaEmbed("#" + id, spec, {actions: false, renderer: "svg", ast: false, tooltip: {theme: "custom", offsetY: 14}}).then(chart => {
    chart.view.addEventListener("click", (event, item) => { if (item && item.datum && item.datum.link) show(item.datum.link); });
    return chart.view;
  });
const charts = Object.entries(JSON.parse(document.getElementById("charts").textContent));
const drawn = Promise.all(charts.map(([id, spec]) => draw(id, spec))).then(views => {
  document.body.dataset.drawn = charts.length;
  return views;
});
