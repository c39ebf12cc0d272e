const COMMUNITIES = "/api/communities";
const USER = "ann";

const element = (id) => document.getElementById(id);
const form = element("form");

// One key for each form that is opened, the same for each of its clicks.
let key;

function openForm() {
  key = crypto.randomUUID();
  element("key").value = key;
}

if (isSecureContext) {
  openForm();
} else {
  element("insecure").hidden = false;
  form.hidden = true;
}

element("new-form").addEventListener("click", () => {
  form.reset();
  openForm();
  form.elements.name.focus();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const tags = form.elements.tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
  const show = showAnswer();
  show(await ask({ name: form.elements.name.value, tags }, key, show));
  await listCommunities();
});

// Asks until there is an answer. Whether the network fails or the server says that it is not done yet,
// the same key makes it safe to ask again.
async function ask(community, key, show) {
  for (let attempt = 0; ; attempt++) {
    let seconds = Math.min(2 ** attempt / 2, 8);
    try {
      const response = await fetch(COMMUNITIES, {
        method: "POST",
        headers: {
          "Authorization": `Bearer ${USER}`,
          "Content-Type": "application/json",
          "Idempotency-Key": key,
        },
        body: JSON.stringify(community),
      });
      const text = await response.text();
      const retryAfter = response.headers.get("Retry-After");
      if (retryAfter === null) return answerOf(response, text, community);
      seconds = Number(retryAfter) || seconds;
      show({ state: "waiting", status: statusOf(response), told: `Not done yet, asking again in ${seconds} s …` });
    } catch {
      show({ state: "waiting", status: "No answer", told: `Asking again in ${seconds} s …` });
    }
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  }
}

function answerOf(response, text, { tags }) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text };
  }
  const answer = { status: statusOf(response), replayed: response.headers.has("Idempotency-Replayed") };
  if (!response.ok) return { ...answer, state: "refused", told: body.detail ?? body.error };
  const leftOut = tags.filter((tag) => !body.tags.includes(tag));
  const told = `/${body.slug}${leftOut.length ? `, without ${leftOut.join(", ")}` : ""}`;
  return { ...answer, state: "done", told };
}

const statusOf = ({ status, statusText }) => `${status} ${statusText}`.trim();

// Adds an answer that is still to come, and returns what tells it.
function showAnswer() {
  const answers = element("answers");
  const item = element("answer").content.firstElementChild.cloneNode(true);
  const find = (part) => item.querySelector(`.${part}`);
  find("number").textContent = `#${answers.children.length + 1}`;
  const show = ({ state, status, replayed = false, told }) => {
    item.dataset.state = state;
    find("status").textContent = status;
    find("replayed").hidden = !replayed;
    find("told").textContent = told;
  };
  show({ state: "waiting", status: "Sent", told: "Waiting for the answer …" });
  answers.prepend(item);
  return show;
}

let listings = 0;

async function listCommunities() {
  const listing = ++listings;
  let communities;
  try {
    const response = await fetch(COMMUNITIES);
    if (response.ok) communities = await response.json();
  } catch { /* what is shown stays */ }
  // A newer one knows more.
  if (listing !== listings) return;
  element("unlisted").hidden = communities !== undefined;
  if (communities === undefined) return;
  element("count").textContent = communities.length;
  element("communities").replaceChildren(...communities.map(communityItem));
}

function communityItem({ name, slug, tags }) {
  const item = element("community").content.firstElementChild.cloneNode(true);
  item.querySelector("bdi").textContent = name;
  item.querySelector(".slug").textContent = `/${slug}`;
  item.querySelector(".tags").append(...tags.map((tag) => {
    const chip = document.createElement("li");
    chip.textContent = tag;
    chip.dir = "auto";
    return chip;
  }));
  return item;
}

await listCommunities();
