// Asks at a fixed rate whatever comes back, for a bounded time; half of the requests open a connection of their own.
// A line of JSON an answer goes to the log.
import http from "k6/http";
import exec from "k6/execution";

const rows = JSON.parse(open(__ENV.ROWS));

export const options = {
  hosts: JSON.parse(__ENV.HOSTS || "{}"),
  discardResponseBodies: false,
  scenarios: {
    open_loop: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE),
      timeUnit: "1s",
      duration: __ENV.LONGEST,
      preAllocatedVUs: 16,
      maxVUs: 64,
    },
  },
};

export default function () {
  // Not in turn: a gateway that takes turns would send each kind of row to one release.
  const row = rows[Math.floor(Math.random() * rows.length)];
  const headers = { "Content-Type": "application/json" };
  if (__ENV.KEY) headers.Authorization = `Bearer ${__ENV.KEY}`;
  if (exec.scenario.iterationInTest % 2) headers.Connection = "close";
  const answer = http.post(`${__ENV.URL}/predict`, JSON.stringify({ rows: [row] }), { headers, timeout: "30s" });
  const told = { when: Date.now() / 1000, seconds: answer.timings.duration / 1000 };
  if (answer.status === 200) {
    const document = answer.json();
    told.release = document.release;
    told.labels = document.predictions.map((prediction) => prediction.label);
  } else {
    told.failure = `${answer.status} ${answer.error} ${String(answer.body).slice(0, 200)}`;
  }
  console.log(JSON.stringify(told));
}
