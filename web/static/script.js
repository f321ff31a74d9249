// What makes waiting pleasant. Every page works without it.
"use strict";

(function () {
  const upload = document.getElementById("upload");
  if (upload) uploads(upload, document.getElementById("uploads"));
  const wait = document.getElementById("wait");
  if (wait && window.EventSource) watch(wait);
  const learning = document.getElementById("learning");
  if (learning && window.EventSource) learn(learning);
  const browsed = document.getElementById("browse");
  if (browsed) browse(browsed);
  const triage = document.getElementById("triage");
  if (triage) work(triage);
  const code = document.querySelector("textarea.code");
  if (code) numbered(code);
  const captured = document.getElementById("live");
  if (captured) follow(captured);

  // A long text: numbers of its lines, and links of its mistakes that lead to them.
  function numbered(text) {
    const numbers = document.createElement("pre");
    numbers.className = "numbers code";
    numbers.setAttribute("aria-hidden", "true");
    const count = () => {
      const lines = text.value.split("\n").length;
      numbers.textContent = Array.from({ length: lines }, (_, at) => at + 1).join("\n");
      numbers.scrollTop = text.scrollTop;
    };
    text.before(numbers);
    numbers.style.height = text.offsetHeight + "px";
    new ResizeObserver(() => { numbers.style.height = text.offsetHeight + "px"; }).observe(text);
    text.addEventListener("input", count);
    text.addEventListener("scroll", () => { numbers.scrollTop = text.scrollTop; });
    count();
    for (const link of document.querySelectorAll("#mistakes a[data-line]")) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        const lines = text.value.split("\n");
        const line = Number(link.dataset.line) - 1;
        const before = lines.slice(0, line).reduce((all, one) => all + one.length + 1, 0);
        // Columns are counted in characters, of which some are two for a browser.
        const column = Array.from(lines[line] || "").slice(0, Number(link.dataset.column) - 1).join("").length;
        text.focus();
        text.setSelectionRange(before + column, before + (lines[line] || "").length);
        text.scrollTop = (line - 3) * (text.scrollHeight / lines.length);
      });
    }
  }

  // Uploads: two at a time, with a bar each. Small files take one request; longer ones go on after they were broken off.
  function uploads(form, list) {
    const inputs = [...form.querySelectorAll("input[type=file]")];
    const most = Number(form.dataset.most);
    // Below that, beginning anew costs less than asking how far it is.
    const LONG = 8 << 20;
    // Of one request: what comes of it counts for the time that one request may take.
    const PIECE = 64 << 20;
    // Milliseconds without a byte after which a connection counts as lost: some are, and nobody says so.
    const QUIET = 15000;
    const queue = [];
    let busy = 0;
    // `isMore` is for a folder of which not all files are taken.
    const add = (files, isMore) => {
      for (const file of files) queue.push(row(file));
      if (isMore) {
        const item = document.createElement("li");
        const words = document.createElement("span");
        item.className = "failed";
        words.textContent = form.dataset.tooMany;
        item.append(words);
        list.append(item);
      }
      next();
    };
    const chosen = (input) => {
      const files = [...input.files];
      add(input.webkitdirectory ? files.slice(0, most) : files, input.webkitdirectory && files.length > most);
    };
    const next = () => {
      while (busy < 2 && queue.length) {
        busy += 1;
        const one = queue.shift();
        (one.file.size > LONG ? sendLong : send)(one, () => { busy -= 1; next(); });
      }
    };
    form.addEventListener("submit", (event) => {
      if (!inputs.some((input) => input.files.length)) return;
      event.preventDefault();
      inputs.forEach(chosen);
      form.reset();
    });
    for (const input of inputs) input.addEventListener("change", () => { chosen(input); form.reset(); });
    for (const name of ["dragenter", "dragover"]) {
      form.addEventListener(name, (event) => { event.preventDefault(); form.classList.add("over"); });
    }
    form.addEventListener("dragleave", (event) => {
      if (!form.contains(event.relatedTarget)) form.classList.remove("over");
    });
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry());
      if (!entries.some((entry) => entry && entry.isDirectory)) return add(event.dataTransfer.files);
      walk(entries.filter((entry) => entry)).then((files) => add(files.slice(0, most), files.length > most));
    });

    // All files in what was dropped, up to one more than are taken. Folders count as well: there may be nothing else.
    async function walk(open) {
      const files = [];
      for (let seen = 0; open.length && files.length <= most && seen <= 4 * most; seen += 1) {
        const entry = open.shift();
        try {
          if (entry.isFile) {
            files.push(await new Promise((found, failed) => entry.file(found, failed)));
            continue;
          }
          const reader = entry.createReader();
          for (;;) {
            const some = await new Promise((found, failed) => reader.readEntries(found, failed));
            if (!some.length || open.length > 4 * most) break;
            open.push(...some);
          }
        } catch {
          // It went away, or may not be read: the others are taken.
        }
      }
      return files;
    }

    function row(file) {
      const item = document.createElement("li");
      const name = document.createElement("strong");
      name.textContent = file.webkitRelativePath || file.name;
      const bar = document.createElement("progress");
      bar.max = 100;
      bar.value = 0;
      bar.setAttribute("aria-label", file.name);
      const words = document.createElement("span");
      const cancel = document.createElement("button");
      cancel.type = "button";
      cancel.className = "quiet";
      cancel.textContent = form.dataset.cancel;
      item.append(name, bar, words, cancel);
      list.append(item);
      const one = { file, item, bar, words, cancel, stop: null };
      cancel.addEventListener("click", () => {
        if (one.stop) return one.stop();
        queue.splice(queue.indexOf(one), 1);
        item.remove();
      });
      return one;
    }

    function failed(one, done, text) {
      one.bar.remove();
      one.cancel.remove();
      if (one.pause) one.pause.remove();
      one.item.classList.add("failed");
      one.words.textContent = text;
      done();
    }

    function ready(one, done, location) {
      one.bar.remove();
      one.cancel.remove();
      if (one.pause) one.pause.remove();
      one.item.classList.add("ready");
      one.words.textContent = "";
      const link = document.createElement("a");
      link.href = location;
      link.textContent = form.dataset.confirm;
      one.words.append(link);
      // One file alone: straight on to its confirmation.
      if (list.children.length === 1 && !queue.length) window.location.assign(location);
      done();
    }

    // A file that goes on where it stopped (the tus protocol): after a lost connection by itself, after the page was
    // loaded again when the same file is chosen.
    function sendLong(one, done) {
      const { file } = one;
      if (file.size > Number(form.dataset.limit)) return failed(one, done, form.dataset.tooLarge);
      let [place, request, waiting, isPaused, isOver, wait] = [null, null, null, false, false, 1];
      one.pause = document.createElement("button");
      one.pause.type = "button";
      one.pause.className = "quiet";
      one.pause.textContent = form.dataset.pause;
      one.cancel.before(one.pause);
      one.pause.addEventListener("click", () => {
        isPaused = !isPaused;
        one.pause.textContent = isPaused ? form.dataset.resume : form.dataset.pause;
        one.words.textContent = isPaused ? form.dataset.paused : "";
        clearTimeout(waiting);
        if (isPaused) {
          if (request) request.abort();
        } else {
          goOn();
        }
      });
      one.stop = () => {
        isOver = true;
        clearTimeout(waiting);
        if (request) request.abort();
        end(5);
        one.item.remove();
        done();
      };

      function ask(method, url, headers, body) {
        return new Promise((answered) => {
          const mine = new XMLHttpRequest();
          request = mine;
          mine.open(method, url);
          const all = { Accept: "application/json", "Tus-Resumable": "1.0.0", "X-Form-Token": form.elements.csrf.value, ...headers };
          for (const [name, value] of Object.entries(all)) mine.setRequestHeader(name, value);
          const before = Number(headers["Upload-Offset"]);
          let quiet = setTimeout(() => mine.abort(), QUIET);
          if (body) {
            mine.upload.onprogress = (event) => {
              clearTimeout(quiet);
              // From then on it is looked at, which may take its time.
              if (event.loaded < event.total) quiet = setTimeout(() => mine.abort(), QUIET);
              one.bar.value = 100 * (before + event.loaded) / file.size;
              one.words.textContent = before + event.loaded >= file.size ? form.dataset.checking : "";
            };
          }
          mine.onloadend = () => {
            clearTimeout(quiet);
            const { status } = mine;
            const header = (name) => (status ? mine.getResponseHeader(name) : null);
            let said = {};
            try { said = JSON.parse(mine.responseText); } catch { /* It has no body. */ }
            if (request === mine) request = null;
            answered({ status, header, detail: said.detail });
          };
          mine.send(body);
        });
      }

      // The server may not have heard yet that the connection broke: it says so, and is asked again.
      async function end(tries) {
        if (!place || !tries) return;
        const { status } = await ask("DELETE", place, {});
        if (status === 423 || !status) setTimeout(() => end(tries - 1), 2000);
      }

      function again(answer) {
        if (isPaused || isOver) return;
        one.words.textContent = answer.detail || form.dataset.lost.replace("{n}", wait);
        waiting = setTimeout(goOn, 1000 * wait);
        wait = Math.min(2 * wait, 30);
      }

      // What passes by itself: no connection, another offset, somebody else's turn, the server's own trouble.
      const passes = (status) => !status || [408, 409, 423, 429].includes(status) || (status >= 500 && status !== 507);

      async function goOn() {
        if (!place) {
          const known = remembered(file);
          if (known) place = `${form.action}/resumable/${known}`;
        }
        let offset = 0;
        if (place) {
          const now = await ask("GET", place, {});
          if (isPaused || isOver) return;
          if (passes(now.status)) return again(now);
          if (now.status === 404) {
            place = null;
          } else if (now.status !== 200) {
            return over(failed, now.detail || form.dataset.failed);
          } else {
            if (now.header("Veilwatch-Entry")) return over(ready, `/entries/${now.header("Veilwatch-Entry")}`);
            offset = Number(now.header("Upload-Offset"));
          }
        }
        if (!place) {
          const text = String.fromCharCode(...new TextEncoder().encode(file.name.slice(0, 500)));
          const metadata = `filename ${btoa(text)},modified ${btoa(file.lastModified)}`;
          const begun = await ask("POST", `${form.action}/resumable`, { "Upload-Length": file.size, "Upload-Metadata": metadata });
          if (begun.status === 201) place = begun.header("Location");
          if (isOver) return end(5);
          if (isPaused) return;
          if (passes(begun.status)) return again(begun);
          if (!place) return over(failed, begun.detail || form.dataset.failed);
        }
        while (!isPaused && !isOver) {
          const headers = { "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
          const sent = await ask("PATCH", place, headers, file.slice(offset, offset + PIECE));
          if (isPaused || isOver) return;
          if (sent.header("Veilwatch-Entry")) return over(ready, `/entries/${sent.header("Veilwatch-Entry")}`);
          if (passes(sent.status)) return again(sent);
          if (sent.status !== 204) return over(failed, sent.detail || form.dataset.failed);
          offset = Number(sent.header("Upload-Offset"));
          wait = 1;
        }
      }

      function over(how, words) {
        isOver = true;
        how(one, done, words);
      }

      goOn();
    }

    // The key of the unfinished upload of this file, as the page lists them; it is taken off the list.
    function remembered(file) {
      for (const item of document.querySelectorAll("#unfinished li")) {
        const { key, name, length, modified } = item.dataset;
        if (name === file.name && Number(length) === file.size && Number(modified) === file.lastModified) {
          item.remove();
          return key;
        }
      }
      return null;
    }

    function send(one, done) {
      const fail = (text) => failed(one, done, text);
      if (one.file.size > Number(form.dataset.limit)) return fail(form.dataset.tooLarge);
      const body = new FormData();
      body.append("csrf", form.elements.csrf.value);
      body.append("capture", one.file, one.file.name);
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        if (!event.lengthComputable) return;
        one.bar.value = 100 * event.loaded / event.total;
        if (event.loaded === event.total) one.words.textContent = form.dataset.checking;
      };
      request.onload = () => {
        const answer = request.response || {};
        if (request.status !== 201 || !answer.location) return fail(answer.detail || form.dataset.failed);
        ready(one, done, answer.location);
      };
      request.onerror = () => fail(form.dataset.failed);
      request.onabort = () => { one.item.remove(); done(); };
      one.stop = () => request.abort();
      request.send(body);
    }
  }

  // The wait page: events from the server, the result when there is one.
  function watch(page) {
    const at = (id) => document.getElementById(id);
    const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };
    const events = new EventSource(page.dataset.events);
    events.addEventListener("queued", (event) => set("stage", JSON.parse(event.data).words));
    events.addEventListener("progress", (event) => {
      const now = JSON.parse(event.data);
      set("stage", at("stage").dataset[now.stopping ? "stopping" : now.stage] || "");
      for (const id of ["bytes", "packets", "rate", "flows", "alerts", "left"]) set(id, now[id]);
      at("bar").value = now.percent;
      at("none").hidden = now.found.length > 0;
      for (const alert of now.found.slice(at("sofar").children.length)) {
        const item = document.createElement("li");
        const tag = document.createElement("span");
        tag.className = "tag " + alert.verdict;
        tag.textContent = alert.words;
        item.append(tag, " " + alert.text);
        at("sofar").append(item);
      }
    });
    // Where the server says no for good (the log-in has ended, say), the page itself says why.
    events.addEventListener("error", () => {
      set("stage", at("stage").dataset.lost);
      if (events.readyState === EventSource.CLOSED) setTimeout(() => window.location.reload(), 5000);
    });
    events.addEventListener("end", () => { events.close(); window.location.reload(); });
  }

  // The queue: keys move along its rows, and press what the page offers anyway.
  function work(page) {
    const links = [...page.querySelectorAll("#rows a.item")];
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      // A key that is held a little long would decide the next item, too; only moving about may be repeated.
      if (event.repeat && !"jk".includes(event.key)) return;
      const active = document.activeElement;
      if (active.matches("textarea, select, input:not([type=checkbox])")) {
        if (event.key === "Escape") active.blur();
        return;
      }
      const row = active.closest("#rows tbody tr");
      const box = row && row.querySelector("input[type=checkbox]");
      const along = { j: 1, k: -1 }[event.key];
      if (links.length && along) {
        event.preventDefault();
        const next = row ? links[links.indexOf(row.querySelector("a.item")) + along] : links[0];
        if (next) next.focus();
        return;
      }
      if (event.key === "x" && box) {
        box.checked = !box.checked;
        return;
      }
      const pressed = [...page.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
      if (!pressed) return;
      event.preventDefault();
      if (pressed.matches("textarea")) return pressed.focus();
      // Where nothing is chosen, the row is that one is on.
      if (box && pressed.form && pressed.form.id === "bulk" && !page.querySelector("#rows input:checked")) box.checked = true;
      pressed.click();
    });
  }

  // A training: events from the server, what came of it when it is over.
  function learn(page) {
    const events = new EventSource(page.dataset.events);
    events.addEventListener("learning", (event) => {
      const now = JSON.parse(event.data);
      const stage = document.getElementById("stage");
      if (stage.textContent !== now.words) stage.textContent = now.words;
      document.getElementById("bar").value = now.percent;
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(() => window.location.reload(), 5000);
    });
    events.addEventListener("end", () => { events.close(); window.location.reload(); });
  }

  // A live session: events bring figures, alerts and packets, until it has ended.
  function follow(page) {
    const at = (id) => document.getElementById(id);
    const set = (id, text) => { if (at(id) && at(id).textContent !== text) at(id).textContent = text; };
    const rows = document.querySelector("#rows tbody");
    const pane = rows && rows.closest("[role=region]");
    const MOST = 500;
    const make = (name, css, ...inside) => {
      const one = document.createElement(name);
      one.className = css;
      one.append(...inside);
      return one;
    };
    const down = () => { if (pane) pane.scrollTop = pane.scrollHeight; };
    if (!page.dataset.events || !window.EventSource) return;
    down();

    function addRows(now) {
      // Whoever scrolled up, or walks through the list, is not moved.
      const isFollowing = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60;
      const last = () => Number(rows.lastElementChild?.querySelector("a")?.textContent || 0);
      const fresh = now.rows.filter((row) => Number(row.number) > last());
      if (now.skipped && fresh.length) {
        const cell = make("td", "dim", page.dataset.skipped);
        cell.colSpan = 7;
        rows.append(make("tr", "", cell));
      }
      for (const row of fresh) {
        const link = make("a", "", row.number);
        link.href = row.link;
        const cells = [link, row.time, row.src, row.dst, row.protocol, row.length, row.info];
        rows.append(make("tr", "", ...cells.map((cell) => make("td", "", cell))));
      }
      while (rows.children.length > MOST && isFollowing) rows.firstElementChild.remove();
      // Of those that wait for somebody who looks elsewhere there are only so many, too.
      while (rows.children.length > 4 * MOST) rows.firstElementChild.remove();
      if (isFollowing) down();
    }

    function addAlert(alert) {
      const tag = make("span", "tag " + alert.verdict, alert.words);
      const first = make("p", "", tag, ` ${alert.text} · ${alert.score} `);
      if (alert.stage) first.append(make("span", "dim", alert.stage));
      const links = make("p", "", page.dataset.packets + " ");
      for (const packet of alert.packets) {
        const link = make("a", "", packet.number);
        link.href = packet.link;
        links.append(link, " ");
      }
      const item = make("li", "alert " + alert.verdict, first);
      if (alert.reasons.length) item.append(make("ul", "", ...alert.reasons.map((words) => make("li", "", words))));
      item.append(links);
      item.id = alert.id;
      const known = at(alert.id);
      if (known) known.replaceWith(item);
      else at("live-found").prepend(item);
      while (at("live-found").children.length > MOST) at("live-found").lastElementChild.remove();
    }

    const events = new EventSource(page.dataset.events);
    events.addEventListener("now", (event) => {
      const now = JSON.parse(event.data);
      for (const [name, text] of Object.entries(now.facts)) set("live-" + name, text);
      set("live-state", now.state);
      if (now.found) set("found", now.found);
      if (now.words) {
        set("live-words", now.words);
        at("live-words").hidden = false;
      }
      for (const alert of now.alerts) addAlert(alert);
      at("live-none").hidden = at("live-found").children.length > 0;
      if (rows && now.rows.length) addRows(now);
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(() => window.location.reload(), 5000);
    });
    events.addEventListener("end", () => { events.close(); window.location.reload(); });
  }

  // Packets: keys move about, the fields light their bytes, and the filter offers names. All of it is links beside that.
  function browse(page) {
    const at = (id) => document.getElementById(id);
    if (page.dataset.again) {
      // Whoever writes something is not interrupted.
      const again = () => (isWriting() ? setTimeout(again, 1000) : window.location.reload());
      setTimeout(again, 1000 * Number(page.dataset.again));
    }
    if (!at("where")) return;
    // The packet that is to be shown next, and whether one is on its way: a key that is held asks for one at a time.
    let wanted = null;
    let isLoading = false;
    let lit = null;
    const here = page.querySelector(".here");
    if (here) inSight(here);

    // The list has a scroll of its own, and the page stays where it is.
    function inSight(row) {
      const box = row.closest(".tall");
      if (box) box.scrollTop += row.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 2;
    }

    function isWriting() {
      return /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    }

    // Another packet of the list takes the place of the one that is shown.
    function show(link) {
      for (const row of document.querySelectorAll("#rows tr.here")) row.classList.remove("here");
      for (const one of document.querySelectorAll("#rows a[aria-current]")) one.removeAttribute("aria-current");
      link.closest("tr").classList.add("here");
      link.setAttribute("aria-current", "true");
      link.focus();
      link.scrollIntoView({ block: "nearest" });
      wanted = link;
      if (!isLoading) load();
    }

    async function load() {
      isLoading = true;
      while (wanted) {
        const link = wanted;
        wanted = null;
        try {
          const answer = await fetch(link.href);
          const words = await answer.text();
          if (wanted) continue;
          const fresh = new DOMParser().parseFromString(words, "text/html").getElementById("packet");
          if (!answer.ok || !fresh) throw new Error(answer.statusText);
          at("packet").replaceWith(document.adoptNode(fresh));
          lit = null;
          window.history.replaceState(null, "", link.href);
        } catch {
          // The page itself says what is wrong.
          if (!wanted) window.location.assign(link.href);
        }
      }
      isLoading = false;
    }

    function step(by) {
      const links = [...document.querySelectorAll("#rows tbody a")];
      const here = links.findIndex((link) => link.hasAttribute("aria-current"));
      const next = links[here + by];
      if (next) return show(next);
      const more = at(by > 0 ? "next" : "previous");
      if (more) window.location.assign(more.href);
    }

    // Lights the bytes of a field: in each line, in both columns.
    function light(link) {
      if (lit === link) return;
      lit = link;
      const [from, to] = [Number(link.dataset.from), Number(link.dataset.to)];
      for (const one of document.querySelectorAll("#tree a[aria-current]")) one.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      let first = null;
      for (const [css, wide, gap] of [["hex", 3, 1], ["text", 1, 0]]) {
        document.querySelectorAll("#bytes ." + css).forEach((part, line) => {
          const words = part.textContent;
          const begin = Math.max(from - 16 * line, 0);
          const end = Math.min(to - 16 * line, 16);
          if (end <= begin) {
            if (part.firstElementChild) part.textContent = words;
            return;
          }
          const mark = document.createElement("mark");
          mark.textContent = words.slice(begin * wide, end * wide - gap);
          part.replaceChildren(words.slice(0, begin * wide), mark, words.slice(end * wide - gap));
          first = first || mark;
        });
      }
      const pane = at("bytes").parentElement;
      if (first) pane.scrollTop += first.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientHeight / 3;
    }

    page.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      if (link.closest("#tree")) {
        event.preventDefault();
        light(link);
      } else if (link.closest("#rows")) {
        event.preventDefault();
        show(link);
      }
    });
    page.addEventListener("focusin", (event) => {
      const link = event.target.closest("#tree a");
      if (link) light(link);
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (isWriting()) {
        if (event.key === "Escape") document.activeElement.blur();
        return;
      }
      const field = document.activeElement.closest("#tree a");
      const go = (id) => { if (at(id)) window.location.assign(at(id).href); };
      const along = (by) => {
        if (!field) return step(by);
        const fields = [...document.querySelectorAll("#tree a")];
        const next = fields[fields.indexOf(field) + by];
        if (next) next.focus();
      };
      const keys = {
        j: () => step(1), k: () => step(-1), ArrowDown: () => along(1), ArrowUp: () => along(-1),
        n: () => go("next"), p: () => go("previous"), PageDown: () => go("next"), PageUp: () => go("previous"),
        s: () => go("stream"), g: () => at("at").focus(), "/": () => at("where").focus(),
        t: () => { const first = document.querySelector("#tree a[aria-current], #tree a"); if (first) first.focus(); },
      };
      // Arrows and pages are the browser's own where somebody scrolls, or there is no other page.
      const isScrolling = /^(Arrow|Page)/.test(event.key) && document.activeElement.matches("[role=region]");
      const isLast = event.key.startsWith("Page") && !at(event.key === "PageDown" ? "next" : "previous");
      if (!keys[event.key] || isScrolling || isLast) return;
      event.preventDefault();
      keys[event.key]();
    });

    // Names of fields where the cursor is: the browser offers whole filters, so each is the filter with the name put in.
    const input = at("where");
    let offered = 0;
    input.addEventListener("input", async () => {
      const [text, mine] = [input.value, ++offered];
      const query = new URLSearchParams({ text, cursor: input.selectionStart });
      const answer = await fetch(page.dataset.complete + "?" + query, { headers: { Accept: "application/json" } }).catch(() => null);
      if (!answer || !answer.ok) return;
      const { from, to, fields } = await answer.json();
      if (mine !== offered) return;
      at("fields").replaceChildren(...fields.map(({ name, words }) => {
        const option = document.createElement("option");
        option.value = text.slice(0, from) + name + text.slice(to);
        option.textContent = words;
        return option;
      }));
    });
  }
})();
