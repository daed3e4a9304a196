"use strict";
// Everything a log line says comes into the page as text nodes, never as HTML.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const $$ = (selector) => [...document.querySelectorAll(selector)];
  const data = JSON.parse($("#data").textContent);

  // --- charts: each is drawn when it comes near the window ---

  const plots = [];
  const hidden = { run: new Set(), split: new Set(), part: new Set() };
  let smooth = 0;

  const draw = async (place, item) => {
    const views = await Bokeh.embed.embed_item(item, place);
    place.dataset.drawn = "true";
    return views.roots ? views.roots[0].model : [...views][0].model;
  };

  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        draw(target.querySelector(".plot"), data[target.dataset.chart][target.dataset.index]).then(
          (plot) => {
            if (target.dataset.chart !== "charts") return;
            plots.push(plot);
            show(plot);
            soften(plot);
          },
        );
      }
    },
    { rootMargin: "400px" },
  );
  $$("figure[data-chart]").forEach((figure) => near.observe(figure));

  // A curve, a band, a mark says by its tags what it belongs to: run, split, part.
  const show = (plot) => {
    for (const each of [...plot.renderers, ...plot.center]) {
      const [run, split, part] = each.tags;
      if (part === undefined) continue;
      each.visible = !(hidden.run.has(run) || hidden.split.has(split) || hidden.part.has(part));
    }
  };

  // Exponential moving average without the bias of its beginning, as TensorBoard has it.
  const soften = (plot) => {
    for (const each of plot.renderers) {
      if (each.tags[2] !== "mean") continue;
      const held = each.data_source.data;
      held.raw ??= held.mean;
      let sum = 0;
      let weight = 0;
      const mean = Float64Array.from(held.raw, (value) => {
        sum = smooth * sum + (1 - smooth) * value;
        weight = smooth * weight + (1 - smooth);
        return sum / weight;
      });
      each.data_source.data = { ...held, mean };
    }
  };

  for (const kind of ["run", "split", "part"]) {
    for (const box of $$(`#metrics input[data-${kind}]`)) {
      box.addEventListener("change", () => {
        hidden[kind][box.checked ? "delete" : "add"](box.dataset[kind]);
        plots.forEach(show);
      });
    }
  }
  $("#smooth")?.addEventListener("input", (event) => {
    smooth = Number(event.target.value);
    event.target.nextElementSibling.value = smooth || "0";
    plots.forEach(soften);
  });
  $("#metric-filter")?.addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    let found = 0;
    for (const figure of $$("#metrics figure")) {
      figure.hidden = !figure.dataset.name.toLowerCase().includes(wanted);
      found += !figure.hidden;
    }
    $("#no-metric").hidden = found > 0;
  });

  // --- log lines ---

  const [RUN, TIME, LEVEL, RANK, LOGGER, KIND, TEXT, FIELDS, DETAIL] = Array(9).keys();
  const CHUNK = 200;
  const box = $("#lines");
  let range = null;
  let matching = [];
  let listed = 0;

  const offer = (select, values, label) => {
    for (const value of values) select.add(new Option(label(value), value));
    select.hidden = values.length < 2;
  };
  const different = (column) =>
    [...new Set(data.lines.map((line) => line[column]))].filter((v) => v !== null && v !== "");
  offer($("#rank"), different(RANK).sort((a, b) => a - b), (rank) => `rank ${rank}`);
  offer($("#logger"), different(LOGGER).sort(), (name) => name);

  // What is looked for: plain text in any case, or /a regular expression/.
  const pattern = () => {
    const wanted = $("#search").value;
    const expression = /^\/(.+)\/$/.exec(wanted.trim());
    try {
      $("#search").classList.remove("wrong");
      if (expression) return new RegExp(expression[1], "gi");
    } catch {
      $("#search").classList.add("wrong");
    }
    return wanted ? new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi") : null;
  };

  const element = (name, kind, text) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const marked = (kind, text, wanted) => {
    const made = element("span", kind);
    let end = 0;
    for (const match of wanted ? text.matchAll(wanted) : []) {
      if (!match[0]) continue;
      made.append(text.slice(end, match.index), element("mark", "", match[0]));
      end = match.index + match[0].length;
    }
    made.append(text.slice(end));
    return made;
  };

  const lineElement = (line, wanted) => {
    const made = element("div", `line level-${line[LEVEL]}`);
    const time = new Date(line[TIME] * 1000).toISOString();
    const who = [
      data.runs.length > 1 ? data.runs[line[RUN]] : "",
      line[RANK] === null ? "" : `rank ${line[RANK]}`,
    ];
    const text = element("span", "text");
    text.append(marked("event", line[TEXT], wanted));
    if (line[FIELDS]) text.append(marked("fields", line[FIELDS], wanted));
    made.append(
      element("time", "", time.replace("T", " ").slice(0, 23)),
      element("span", "name", line[LEVEL].toUpperCase()),
      element("span", "who", who.filter(Boolean).join(" ")),
      marked("who", line[LOGGER], wanted),
      text,
    );
    if (line[DETAIL]) {
      const details = element("details");
      details.open = Boolean(wanted) && line[DETAIL].search(wanted) >= 0;
      const shown = element("pre");
      shown.append(marked("", line[DETAIL], wanted));
      details.append(element("summary", "", line[DETAIL].trim().split("\n").pop()), shown);
      made.append(details);
    }
    return made;
  };

  const listMore = () => {
    const wanted = pattern();
    const more = matching.slice(listed, listed + CHUNK);
    listed += more.length;
    box.append(...more.map((line) => lineElement(line, wanted)));
  };

  const list = () => {
    const wanted = pattern();
    const levels = new Set($$("#levels input:checked").map((input) => input.value));
    const run = $("#run")?.value ?? "";
    const rank = $("#rank").value;
    const logger = $("#logger").value;
    const has = (text) => {
      wanted.lastIndex = 0;
      return wanted.test(text);
    };
    matching = data.lines.filter(
      (line) =>
        levels.has(line[LEVEL]) &&
        (run === "" || line[RUN] === Number(run)) &&
        (rank === "" || line[RANK] === Number(rank)) &&
        (logger === "" || line[LOGGER] === logger || line[LOGGER].startsWith(`${logger}.`)) &&
        (!range || (line[TIME] >= range[0] && line[TIME] <= range[1])) &&
        (!wanted || [TEXT, FIELDS, LOGGER, DETAIL].some((column) => has(line[column]))),
    );
    if ($("#order").value === "last") matching.reverse();
    listed = 0;
    box.replaceChildren();
    listMore();
    box.scrollTop = 0;
    const all = data.lines.length;
    $("#found").textContent =
      `${matching.length.toLocaleString("en")} of ${all.toLocaleString("en")} lines`;
  };

  box.addEventListener("scroll", () => {
    if (box.scrollTop + box.clientHeight > box.scrollHeight - 400) listMore();
  });
  let waiting = 0;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(list, 80);
  };
  $("#search").addEventListener("input", soon);
  for (const selector of ["#levels", "#run", "#rank", "#logger", "#order"]) {
    $(selector)?.addEventListener("change", soon);
  }
  if (data.activity) {
    draw($("#activity"), data.activity).then((plot) => {
      const whole = [plot.x_range.start, plot.x_range.end];
      plot.x_range.change.connect(() => {
        const { start, end } = plot.x_range;
        range = start <= whole[0] && end >= whole[1] ? null : [start / 1000, end / 1000];
        soon();
      });
    });
  }
  list();
})();
