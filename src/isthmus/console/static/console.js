// Small comforts on top of pages that work without them: copying, shortcuts, and numbers that move by themselves.
// Nothing here changes what a form sends, and nothing moves under the hand: live updates touch text and bars only.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    const words = button.querySelector(".unseen");
    const before = words.textContent;
    words.textContent = "Copied";
    setTimeout(() => { button.classList.remove("done"); words.textContent = before; }, 1600);
  });
}

const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;
const dialog = document.querySelector("dialog.shortcuts");
const places = { h: "/console", a: "/console/apps", c: "/console/connections", d: "/console/data", w: "/console/writes", y: "/console/activity", l: "/console/deliveries", s: "/console/settings" };
let goingTo = false;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (goingTo && places[event.key]) { window.location.assign(places[event.key]); return; }
  goingTo = event.key === "g";
  if (event.key === "/") {
    const fields = [...document.querySelectorAll("input[type=search]")].filter((field) => field.offsetParent !== null);
    const field = fields.find((each) => each.closest("main")) || fields[0];
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  }
  if (event.key === "?" && dialog) { event.preventDefault(); dialog.showModal(); }
});

for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

for (const box of document.querySelectorAll("[data-events]")) {
  const source = new EventSource(box.dataset.events);
  const put = (name, text) => {
    for (const place of box.querySelectorAll(`[data-live="${name}"]`)) place.textContent = text;
  };
  source.addEventListener("progress", (event) => {
    const news = JSON.parse(event.data);
    for (const [name, text] of Object.entries(news.words)) put(name, text);
    const bar = box.querySelector("progress");
    if (bar && news.total) { bar.max = news.total; bar.value = news.done; }
  });
  source.addEventListener("ended", (event) => {
    source.close();
    for (const [name, text] of Object.entries(JSON.parse(event.data).words)) put(name, text);
    for (const note of box.querySelectorAll("[data-when-ended]")) note.hidden = false;
  });
}
