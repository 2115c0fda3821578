// Small comforts on top of pages that work without them: copying, shortcuts, and numbers that move by themselves.
// Nothing here changes what a form sends, and nothing moves under the hand: live updates touch text and bars only. A
// page about one run is loaded again when the run has ended, unless something was typed into it.
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

const typedInto = () => document.activeElement.matches("input, textarea, select")
  || document.querySelector("details.more[open]") !== null
  || [...document.querySelectorAll("main input, main textarea")].some((field) => field.type !== "hidden"
    && (field.value !== field.defaultValue || field.checked !== field.defaultChecked));

for (const box of document.querySelectorAll("[data-events]")) {
  const source = new EventSource(box.dataset.events);
  const show = (news) => {
    for (const [name, text] of Object.entries(news.words)) {
      for (const place of box.querySelectorAll(`[data-live="${name}"]`)) place.textContent = text;
    }
    for (const place of document.querySelectorAll(`[data-pill-of="${box.dataset.events}"]`)) {
      const pill = document.createElement("template");
      pill.innerHTML = news.pill; // made by our own macro, without anybody's words in it
      place.replaceChildren(pill.content);
    }
    const bar = box.querySelector("progress");
    if (bar && news.total) { bar.max = news.total; bar.value = news.done; }
    return bar;
  };
  source.addEventListener("progress", (event) => { show(JSON.parse(event.data)); });
  source.addEventListener("ended", (event) => {
    source.close();
    const news = JSON.parse(event.data);
    const bar = show(news);
    if (bar) {
      bar.max = news.total || news.done || 1;
      bar.value = news.whole ? bar.max : news.done;
    }
    for (const place of document.querySelectorAll("[data-until-ended]")) place.hidden = true;
    for (const note of box.querySelectorAll("[data-when-ended]")) note.hidden = false;
    if (box.dataset.then !== "reload" || typedInto()) return;
    const here = new URL(window.location.href); // the rest of the page tells of before: its numbers, its buttons
    here.searchParams.delete("notice");
    window.location.replace(here);
  });
}
