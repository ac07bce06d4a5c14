// The original client's session, from Node.js.
//
//     npm ci
//     node demo.js [localhost:50051]
//
// The messages are loaded from proto/ at start. Every change carries a request id, so it can be retried when
// its outcome is unknown, and errors are recognized by their details, not their text.

"use strict";

const { randomUUID } = require("node:crypto");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const options = { longs: String, enums: String, defaults: true, keepCase: true };
const protos = path.join(__dirname, "../../proto");
const definition = loader.loadSync("bank/v1/bank_service.proto", { ...options, includeDirs: [protos] });
const { BankService } = grpc.loadPackageDefinition(definition).bank.v1;

// The parts of google/rpc/status.proto and error_details.proto that are needed here.
const details = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { type_url: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
    Status: { fields: { details: { rule: "repeated", type: "Any", id: 3 } } },
    ErrorInfo: {
      fields: {
        reason: { type: "string", id: 1 },
        metadata: { keyType: "string", type: "string", id: 3 },
      },
    },
  },
});
const [Status, ErrorInfo] = [details.lookupType("Status"), details.lookupType("ErrorInfo")];

const RETRYABLE = new Set([grpc.status.UNAVAILABLE, grpc.status.RESOURCE_EXHAUSTED, grpc.status.UNKNOWN]);
const ATTEMPTS_MAX = 5;

/** Whole cents; never a float. */
function dollars(amount) {
  const [major, minor = ""] = amount.split(".");
  const minorUnits = BigInt(major) * 100n + BigInt(minor.padEnd(2, "0"));
  return { currency_code: "USD", minor_units: minorUnits.toString() };
}

/** Calls once. */
function attempt(bank, method, request) {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 5000;
    bank[method](request, { deadline }, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

/** Calls, and repeats with the same request id while the outcome is not known. */
async function call(bank, method, request) {
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await attempt(bank, method, request);
    } catch (error) {
      if (!RETRYABLE.has(error.code) || attempts === ATTEMPTS_MAX) throw error;
      await sleep(50 * 2 ** attempts);
    }
  }
}

/** The stable reason of an error, and the values that it names. */
function errorInfo(error) {
  const [binary] = error.metadata.get("grpc-status-details-bin");
  const all = binary ? Status.decode(binary).details : [];
  const info = all.find(({ type_url }) => type_url === "type.googleapis.com/google.rpc.ErrorInfo");
  return info ? ErrorInfo.decode(info.value) : { reason: undefined, metadata: {} };
}

async function main() {
  const target = process.argv[2] ?? "localhost:50051";
  const account_id = `node-${randomUUID()}`;
  const request_id = () => randomUUID();
  const bank = new BankService(target, grpc.credentials.createInsecure());
  try {
    const opening = { account_id, account_type: "ACCOUNT_TYPE_SAVINGS", currency_code: "USD" };
    console.log((await call(bank, "CreateAccount", { ...opening, request_id: request_id() })).message);

    const deposit = { account_id, amount: dollars("1000.00"), request_id: request_id() };
    console.log((await call(bank, "Deposit", deposit)).message);
    const again = await call(bank, "Deposit", deposit);
    if (!again.replayed) throw new Error("the same request moves money once");
    console.log((await call(bank, "GetBalance", { account_id })).message);

    const withdrawal = { account_id, amount: dollars("500.00"), request_id: request_id() };
    console.log((await call(bank, "Withdraw", withdrawal)).message);
    const interest = { account_id, annual_interest_rate: "2.5", request_id: request_id() };
    console.log((await call(bank, "CalculateInterest", interest)).message);

    try {
      await call(bank, "Withdraw", { account_id, amount: dollars("1000.00"), request_id: request_id() });
    } catch (error) {
      const { reason, metadata } = errorInfo(error);
      const code = grpc.status[error.code];
      console.log(`${code} ${reason}: ${metadata.available_minor_units} cents are available`);
    }
  } finally {
    bank.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
