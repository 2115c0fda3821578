// Comforts on top of connect pages that work without them: ticks that come as they happen, copying, and telling the
// page that opened this window how it ended.
"use strict";

for (const button of document.querySelectorAll("[data-copy], [data-copy-from]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = button.dataset.copyFrom && document.getElementById(button.dataset.copyFrom);
    await navigator.clipboard.writeText(source ? source.value : button.dataset.copy);
    button.classList.add("done");
    const words = button.querySelector("span");
    const before = words.textContent;
    words.textContent = "Copied";
    setTimeout(() => { button.classList.remove("done"); words.textContent = before; }, 1600);
  });
}

const live = document.querySelector("[data-ticks]");
if (live) {
  let before = "";
  const look = async () => {
    try {
      const answer = await fetch(live.dataset.ticks, { cache: "no-store" });
      const news = answer.ok ? await answer.text() : before;
      if (news !== before) { live.innerHTML = news; before = news; }  // else a screen reader would say it all again
      if (answer.headers.get("x-connect-done") === "1" || !answer.ok) { window.location.replace(live.dataset.then); return; }
    } catch { /* the next look may reach the server again */ }
    setTimeout(look, 700);
  };
  setTimeout(look, 400);
}

const ended = document.querySelector("[data-connect-ended]");
if (ended && window.opener && ended.dataset.origin) {
  window.opener.postMessage(
    { type: "isthmus.connect", status: ended.dataset.connectEnded, session: ended.dataset.session, connection: ended.dataset.connection || null },
    ended.dataset.origin,
  );
}
for (const button of document.querySelectorAll("[data-close]")) {
  if (!window.opener && window.history.length > 1) continue;
  button.hidden = false;
  button.addEventListener("click", () => window.close());
}
