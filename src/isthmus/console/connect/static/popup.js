// Isthmus.connect({url, onConnected, onCancelled, onFailed}): opens a connect page in a popup, from a click, and tells
// how it ends. It never reads the popup: it asks the hub for the link's status, so it also works when the browser cuts
// the tie between the two windows during the vendor's sign-in.
(() => {
  "use strict";
  const EVERY_MS = 1500, CLOSED_MS = 2000, CLOSED_AT_VENDOR_MS = 20000, SIZE = [520, 760];

  const connect = ({ url, onConnected, onCancelled, onFailed, onOpened, closeWhenDone = true }) => {
    const link = new URL(url, window.location.href);
    const status = new URL(link.pathname.replace(/\/$/, "") + "/status", link.origin);
    const [width, height] = SIZE;
    const left = Math.max(0, window.screenX + (window.outerWidth - width) / 2);
    const top = Math.max(0, window.screenY + (window.outerHeight - height) / 2);
    const popup = window.open(link.href, "isthmus-connect", `popup,width=${width},height=${height},left=${left},top=${top}`);
    let over = false, closedAt = 0, last = { status: "pending", step: "consent" }, timer = 0;

    const end = (call, value) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      window.removeEventListener("message", heard);
      if (popup && closeWhenDone) setTimeout(() => popup.close(), 1200);
      if (call) call(value);
    };
    const failed = (code, message) => ({ status: "failed", code, message, url: link.href });

    const judge = () => {
      if (last.status === "connected") return end(onConnected, { status: "connected", session: last.session, connection: last.connection });
      if (last.status === "expired") return end(onFailed, failed("expired", "The link has run out."));
      if (last.status === "cancelled") return end(onCancelled, { status: "cancelled", session: last.session, reason: "cancelled" });
      if (!popup || !popup.closed) { closedAt = 0; return undefined; }
      closedAt = closedAt || Date.now();
      // While somebody is at the vendor's the browser may call the popup closed although it is not.
      const patience = last.step === "vendor" && last.status !== "failed" ? CLOSED_AT_VENDOR_MS : CLOSED_MS;
      if (Date.now() - closedAt < patience) return undefined;
      if (last.status === "failed") return end(onFailed, { status: "failed", session: last.session, ...last.failure, url: link.href });
      return end(onCancelled, { status: "cancelled", session: last.session, reason: "closed" });
    };
    const ask = async () => {
      clearTimeout(timer);
      try {
        const answer = await fetch(status, { credentials: "omit", cache: "no-store" });
        if (answer.ok) last = await answer.json();
        else if (answer.status === 404) return end(onFailed, failed("unknown_link", "The link does not work."));
      } catch { /* offline for a moment, or the hub restarts */ }
      judge();
      if (!over) timer = setTimeout(ask, EVERY_MS);
      return undefined;
    };
    const heard = (event) => {
      if (event.origin === link.origin && event.data && event.data.type === "isthmus.connect") ask();
    };

    if (!popup) {
      setTimeout(() => end(onFailed, failed("popup_blocked", "The browser has blocked the popup. Open the link as a whole page, or allow popups.")), 0);
    } else {
      window.addEventListener("message", heard);
      if (onOpened) onOpened();
      timer = setTimeout(ask, EVERY_MS);
    }
    return { close: () => { if (popup) popup.close(); ask(); }, focus: () => popup && popup.focus(), status: () => last.status };
  };

  window.Isthmus = Object.freeze({ ...(window.Isthmus || {}), connect });
})();
