// SPDX-License-Identifier: MIT
//
// MessagePort of Node, between threads of worker_threads. The main thread receives, in its event loop; the other threads
// are workers. Node cannot place its threads: place=split is free.
//
// A MessagePort has no bound and its senders never wait, so only capacity=0 is here. A message of 8 bytes is a number, as
// Node's users would send it: the producer in the top 8 of its 53 bits, its place in the others. A larger message is a
// Uint32Array, of which postMessage makes the copy. To transfer the memory instead takes longer below 4 KiB, and as long there.
import { openSync, readSync, writeSync } from "node:fs";
import { BroadcastChannel, isMainThread, MessageChannel, parentPort } from "node:worker_threads";
import { receiveMessageOnPort, Worker, workerData } from "node:worker_threads";

const FAILED = 1;
const WRONG = 2;
const NONE = 3;

const PORTION = 4096n;
const PLACE_BITS = 45;
const PLACES = 2 ** PLACE_BITS;
const HALF = 2 ** 32;
const SIZE_MAX = 4096;
const PRODUCERS_MAX = 64;
const NUMBER_MAX = 2 ** 40;

function leave(code, why) {
  writeSync(2, `${why}\n`);
  process.exit(code);
}

// fail: the run went wrong. In a worker the exception comes to the main thread as an event, which then ends the process.
function fail(why) {
  if (!isMainThread) throw new Error(why);
  leave(FAILED, why);
}

function check(good, why = "a message is missing, doubled or out of order") {
  if (!good) fail(why);
}

// --- Clocks and the result ---

// Nanoseconds; the same clock in all threads.
const now = () => Number(process.hrtime.bigint());

// Of the process, in nanoseconds.
function cpu() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

// A measured part: its wall and processor time, in memory that all threads share. Any of them may start or stop it.
const newMeter = () => new Float64Array(new SharedArrayBuffer(16));

function startMeter(meter) {
  meter[1] = cpu();
  meter[0] = now();
}

// Leaves the spans in it.
function stopMeter(meter) {
  meter[0] = now() - meter[0];
  meter[1] = cpu() - meter[1];
}

let finished = false;

// Prints the line and ends the process with its workers. times: of each round trip or wake-up, or null.
function result(messages, meter, times, more = "") {
  let line = `messages=${messages} wall_ns=${meter[0]} cpu_ns=${meter[1]}`;
  if (times !== null) {
    times.sort();
    line += ` p50_ns=${times[Math.floor(times.length / 2)]} p99_ns=${times[Math.floor((times.length * 99) / 100)]}`;
  }
  writeSync(1, `${line}${more}\n`);
  finished = true;
  process.exit(0);
}

// --- Threads ---

// Starts a worker, which runs roles[role](args, data), and waits for its first message.
function startWorker(role, args, data, transferList = []) {
  const worker = new Worker(new URL(import.meta.url), { workerData: { role, args, data }, transferList });
  worker.on("error", (error) => fail(error.message));
  return new Promise((resolve) => worker.once("message", () => resolve(worker)));
}

// What all threads share: a row of 32-bit words to wait on. A worker may block; the main thread only sets and notifies.
const newGates = (n) => new Int32Array(new SharedArrayBuffer(4 * n));

function openGate(gates, n) {
  Atomics.store(gates, n, 1);
  Atomics.notify(gates, n);
}

// --- Messages ---

// Returns a function that makes the message of a producer for a place.
function filler(size, producer) {
  if (size === 8) return (place) => producer * PLACES + place;
  const message = new Uint32Array(size / 4);
  const last = message.length - 2;
  return (place) => {
    message[0] = place % HALF;
    message[1] = (producer << 24) | (place / HALF);
    message[last] = ~message[0];
    message[last + 1] = ~message[1];
    return message;
  };
}

// Returns a function that fails unless it gets the next message of its producer.
function taker(size, producers) {
  const next = new Float64Array(producers);
  const take = (producer, place) => {
    check(producer < producers && place === next[producer]);
    next[producer]++;
  };
  if (size === 8) return (message) => take(Math.floor(message / PLACES), message % PLACES);
  const last = size / 4 - 2;
  return (message) => {
    const same = message.length === last + 2 && message[last] === ~message[0] >>> 0 && message[last + 1] === ~message[1] >>> 0;
    check(same, "a message has changed on its way");
    take(message[1] >>> 24, (message[1] & 0xffffff) * HALF + message[0]);
  };
}

function unbounded(args) {
  if (args.capacity !== 0) leave(NONE, "a MessagePort has no bound");
}

// The first phase of a case warms up.
const phasesOf = (messages, part) => [Math.floor(messages / part) + 1, messages];

// --- stream ---

function produce(args, { id, port, gates, left, meters }) {
  const fill = filler(args.size, id);
  let place = 0;
  parentPort.postMessage("ready");
  meters.forEach((meter, phase) => {
    Atomics.wait(gates, 2 * phase, 0);
    if (Atomics.exchange(gates, 2 * phase + 1, 1) === 0) startMeter(meter);
    for (;;) {
      const rest = Atomics.sub(left, phase, PORTION);
      if (rest <= 0n) break;
      for (const end = place + Number(rest < PORTION ? rest : PORTION); place < end; place++) port.postMessage(fill(place));
    }
  });
}

async function stream(args) {
  unbounded(args);
  const counts = phasesOf(args.messages, 5);
  const gates = newGates(4); // for each phase: it has begun; somebody has started the clock
  const left = new BigInt64Array(new SharedArrayBuffer(16));
  const meters = counts.map(newMeter);
  const take = taker(args.size, args.producers);
  const ports = [];
  let count = 0;
  let full = () => {};
  const onMessage = (message) => {
    take(message);
    if (--count === 0) full();
  };

  for (let id = 0; id < args.producers; id++) {
    const { port1, port2 } = new MessageChannel();
    const data = { id, port: port1, gates, left, meters };
    await startWorker("produce", args, data, [port1]);
    port2.on("message", onMessage);
    ports.push(port2);
  }
  for (let phase = 0; phase < counts.length; phase++) {
    count = counts[phase];
    left[phase] = BigInt(count);
    const done = new Promise((resolve) => {
      full = () => {
        stopMeter(meters[phase]);
        resolve();
      };
    });
    openGate(gates, 2 * phase);
    await done;
  }
  for (const port of ports) check(receiveMessageOnPort(port) === undefined, "more messages than were sent");
  result(args.messages, meters[1], null);
}

// --- pingpong and request: one asks, the other answers each number with the one after it ---

// Answers through the same port: a oneshot for each request is nothing that Node has.
function answer(port) {
  let next = 0;
  port.on("message", (number) => {
    check(number === next);
    next += 2;
    port.postMessage(number + 1);
  });
}

// Asks `rounds` times from number `first` on, `outstanding` at a time. times may be null.
function ask(port, first, rounds, outstanding, times) {
  const end = first + 2 * rounds;
  let sent = first;
  let awaited = first;
  let last = now();
  const send = () => {
    port.postMessage(sent);
    sent += 2;
  };
  return new Promise((resolve) => {
    const onMessage = (number) => {
      check(number === awaited + 1);
      if (times !== null) {
        const at = now();
        times[(awaited - first) / 2] = at - last;
        last = at;
      }
      awaited += 2;
      if (sent < end) send();
      if (awaited !== end) return;
      port.off("message", onMessage);
      resolve();
    };
    port.on("message", onMessage);
    while (sent < end && (sent - first) / 2 < outstanding) send();
  });
}

async function roundTrips(args, rounds, outstanding, times, messages) {
  const { port1, port2 } = new MessageChannel();
  const [warm] = phasesOf(rounds, 10);
  const meter = newMeter();
  if (args.where === "one") answer(port2);
  else await startWorker("answer", args, { port: port2 }, [port2]);
  await ask(port1, 0, warm, outstanding, null);
  startMeter(meter);
  await ask(port1, 2 * warm, rounds, outstanding, times);
  stopMeter(meter);
  result(messages, meter, times);
}

function pingpong(args) {
  if (args.where !== "one") return roundTrips(args, args.messages, 1, new Float64Array(args.messages), args.messages);
  const rounds = Math.ceil(args.messages / 2);
  return roundTrips(args, rounds, 1, null, 2 * rounds);
}

function request(args) {
  const times = args.outstanding === 1 ? new Float64Array(args.messages) : null;
  return roundTrips(args, args.messages, args.outstanding, times, args.messages);
}

// --- broadcast ---

// Some of the receivers, each a BroadcastChannel of its own. The worker that is done last stops the clock.
function listen(args, { receivers, counts, left, meters }) {
  const finished = counts.map(() => 0);
  const done = (phase) => {
    if (++finished[phase] !== receivers || Atomics.sub(left, phase, 1) !== 1) return;
    stopMeter(meters[phase]);
    parentPort.postMessage("done");
  };
  for (let i = 0; i < receivers; i++) {
    const channel = new BroadcastChannel("peer");
    let next = 0;
    channel.onmessage = ({ data }) => {
      check(data === next);
      next++;
      if (next === counts[0]) done(0);
      else if (next === counts[0] + counts[1]) done(1);
    };
  }
  parentPort.postMessage("ready");
}

async function broadcast(args) {
  unbounded(args);
  const sends = Math.ceil(args.messages / args.receivers);
  const counts = phasesOf(sends, 5);
  const meters = counts.map(newMeter);
  const threads = Math.min(args.receivers, 2);
  const left = newGates(2).fill(threads);
  let finish = () => {};
  for (let n = 0; n < threads; n++) {
    const receivers = Math.floor((args.receivers + n) / threads);
    const worker = await startWorker("listen", args, { receivers, counts, left, meters });
    worker.on("message", () => finish());
  }
  const channel = new BroadcastChannel("peer");
  let next = 0;
  for (let phase = 0; phase < counts.length; phase++) {
    const done = new Promise((resolve) => (finish = resolve));
    startMeter(meters[phase]);
    for (const end = next + counts[phase]; next < end; next++) channel.postMessage(next);
    await done;
  }
  result(sends * args.receivers, meters[1], null);
}

// --- idle ---

// The next of a fixed row of pseudo-random numbers, below n.
function randomBelow(n) {
  const word = (x) => BigInt.asUintN(64, x);
  let state = 0n;
  return () => {
    state = word(state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = word((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = word((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) % BigInt(n));
  };
}

// Returns a function that tells whether the main thread sleeps: the letter after the name in brackets.
function sleeper() {
  const page = openSync(`/proc/${process.pid}/task/${process.pid}/stat`, "r");
  const bytes = Buffer.alloc(128);
  return () => {
    const line = bytes.toString("latin1", 0, readSync(page, bytes, 0, bytes.length, 0));
    return line.startsWith(") S", line.lastIndexOf(")"));
  };
}

// The one that wakes. It gets the ports by a message, then sends to one, waits until that has come and the receiver sleeps.
function wake(args, { arrived, times, meter }) {
  const sleeps = sleeper();
  parentPort.postMessage("ready");
  parentPort.once("message", (ports) => {
    parentPort.postMessage("has them");
    parentPort.once("message", () => {
      const random = randomBelow(ports.length);
      startMeter(meter);
      for (let number = 0; number < args.messages; number++) {
        const port = random();
        while (!sleeps());
        times[number] = now();
        ports[port].postMessage(number * ports.length + port);
        Atomics.wait(arrived, 0, number);
      }
      stopMeter(meter);
      parentPort.postMessage("done");
    });
  });
}

async function idle(args) {
  const arrived = newGates(1);
  const times = new Float64Array(new SharedArrayBuffer(8 * args.messages));
  const meter = newMeter();
  const worker = await startWorker("wake", args, { arrived, times, meter });
  const told = () => new Promise((resolve) => worker.once("message", resolve));
  const arrive = (port, message) => {
    const at = now();
    const number = arrived[0];
    check(message === number * args.channels + port);
    times[number] = at - times[number];
    Atomics.store(arrived, 0, number + 1);
    Atomics.notify(arrived, 0);
  };

  const before = process.memoryUsage.rss();
  const ports = [];
  for (let i = 0; i < args.channels; i++) {
    const { port1, port2 } = new MessageChannel();
    port2.on("message", (message) => arrive(i, message));
    ports.push(port1);
  }
  worker.postMessage(ports, ports);
  await told();
  const bytes = Math.max(0, Math.floor((process.memoryUsage.rss() - before) / args.channels));
  worker.postMessage("go");
  await told();
  check(arrived[0] === args.messages);
  result(args.messages, meter, times, ` bytes=${bytes}`);
}

// --- pair ---

function pair(args) {
  unbounded(args);
  const { port1, port2 } = new MessageChannel();
  const fill = filler(args.size, 0);
  const take = taker(args.size, 1);
  const meter = newMeter();
  startMeter(meter);
  for (let place = 0; place < args.messages; place++) {
    port1.postMessage(fill(place));
    const got = receiveMessageOnPort(port2);
    check(got !== undefined);
    take(got.message);
  }
  stopMeter(meter);
  result(args.messages, meter, null);
}

// --- Arguments ---

const roles = { produce, listen, wake, answer: (args, { port }) => (answer(port), parentPort.postMessage("ready")) };

// Each case: its keys and what runs it.
const cases = {
  stream: ["capacity size producers messages place", stream],
  pingpong: ["where messages place", pingpong],
  request: ["outstanding messages place", request],
  broadcast: ["receivers capacity messages place", broadcast],
  watch: ["op messages place", () => leave(NONE, "Node has no channel that keeps the newest value")],
  idle: ["channels messages place", idle],
  pair: ["capacity size messages", pair],
};

const words = { place: ["split", "free"], where: ["threads", "one"], op: ["read", "send"] };

const wrong = (what) => leave(WRONG, `wrong argument: ${what}`);

function parse(keys, texts) {
  const args = { messages: 1000000, capacity: 0, size: 8, producers: 1, receivers: 1, outstanding: 1, channels: 1 };
  for (const text of texts) {
    const [, key, value] = /^([a-z]+)=([a-z]+|[0-9]+)$/.exec(text) ?? wrong(text);
    if (!keys.split(" ").includes(key)) wrong(text);
    if (words[key] !== undefined ? !words[key].includes(value) : !/^[0-9]+$/.test(value)) wrong(text);
    args[key] = words[key] !== undefined ? value : Number(value);
    if (args[key] > NUMBER_MAX || (args[key] === 0 && key !== "capacity")) wrong(text);
  }
  if (args.size % 8 !== 0 || args.size > SIZE_MAX || args.producers > PRODUCERS_MAX) wrong("a number out of its range");
  return args;
}

if (isMainThread) {
  const [peer, name, ...texts] = process.argv.slice(2);
  if (peer !== "node" || name === undefined) wrong("node CASE [KEY=VALUE...]");
  if (!Object.hasOwn(cases, name)) leave(NONE, "it has no such case");
  const [keys, run] = cases[name];
  // A loop that has nothing left to wait for would end with 0.
  process.on("exit", (code) => {
    if (code === 0 && !finished) leave(FAILED, "nothing is left to wait for, but the case is not done");
  });
  await run(parse(keys, texts));
} else {
  roles[workerData.role](workerData.args, workerData.data);
}
