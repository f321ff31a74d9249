// What holds for every page; gives what does not.
const wrong = [];
const all = (css) => [...document.querySelectorAll(css)];
const words = (element) => element.textContent.trim();
const named = (element) => (element.getAttribute("aria-label") || "").trim()
  || (element.getAttribute("aria-labelledby") || "").split(" ").some((id) => document.getElementById(id));

if (all("h1").length !== 1) wrong.push(all("h1").length + " h1");
for (const heading of all("h1, h2")) if (!words(heading)) wrong.push("an empty heading");
if (!document.title) wrong.push("no title");
const language = document.documentElement.lang;
if (!["en", "zh-Hans"].includes(language)) wrong.push("the language is " + language);
for (const control of all("input:not([type=hidden]), select, textarea")) {
  if (!named(control) && ![...control.labels].some(words)) wrong.push("no label: " + control.outerHTML);
}
for (const button of all("button, a")) {
  if (!named(button) && !words(button)) wrong.push("no words: " + button.outerHTML);
}
for (const picture of all("img")) {
  if (!(picture.getAttribute("alt") || "").trim()) wrong.push("no alt: " + picture.outerHTML);
  if (picture.complete && !picture.naturalWidth) wrong.push("a broken picture: " + picture.src);
}
const ids = all("[id]").map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push("twice the id " + id);
for (const element of all("[aria-describedby], [aria-labelledby]")) {
  for (const attribute of ["aria-describedby", "aria-labelledby"]) {
    for (const id of (element.getAttribute(attribute) || "").split(" ").filter(Boolean)) {
      if (!ids.includes(id)) wrong.push(attribute + " names what is not there: " + id);
    }
  }
}
// A placeholder that nothing was put into.
const left = document.body.innerText.match(/\{[a-z_]+\}/);
if (left) wrong.push("a placeholder is left: " + left[0]);
// Chinese pages speak Chinese; the names of the languages are in their own.
if (language === "zh-Hans") {
  const chinese = /[\u4e00-\u9fff]/;
  if (!chinese.test(document.title)) wrong.push("the title is not Chinese: " + document.title);
  for (const element of all("h1, h2, label, th, header button, main button, summary, figcaption")) {
    // A number is one in every language.
    if (/\p{L}/u.test(words(element)) && !chinese.test(words(element))) wrong.push("not Chinese: " + words(element));
  }
}
// Nothing sticks out at the side.
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) {
  const out = all("body *").filter((element) => element.getBoundingClientRect().right > root.clientWidth + 1
    && !element.parentElement.closest(".scroll"));
  wrong.push("wider than the window by " + (root.scrollWidth - root.clientWidth) + ": "
    + out.slice(0, 5).map((element) => element.tagName + "." + element.className).join(", "));
}
return wrong;
