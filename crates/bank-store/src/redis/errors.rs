//! What error replies mean. Redis and Valkey share the codes, but not all of the wording.

use fred::error::Error as FredError;

/// What an error means for the command, and for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing was done. The connection must be closed: it leads to the wrong server.
    WrongServer,
    /// Nothing was done; the same command may succeed later.
    Transient,
    /// Nothing was done; it fails until the configuration is changed. With advice.
    Misconfigured(&'static str),
    /// Nothing was done: the data is not what the bank writes.
    Corrupt,
    /// The command may have been executed.
    OutcomeUnknown,
}

use Meaning::{Corrupt, Misconfigured, OutcomeUnknown, Transient, WrongServer};

const CREDENTIALS: &str = "check the user and the password in store.redis.url (for a Sentinel: \
                           sentinelUsername, sentinelPassword)";
const PERMISSIONS: &str = "grant its user the commands and keys that the bank uses (ACL SETUSER)";
const CLUSTER: &str = "this is a node of a Redis Cluster: begin store.redis.url with redis-cluster://";
const NO_CLUSTER: &str = "this is not a node of a Redis Cluster: begin store.redis.url with redis://";
const COMMANDS: &str = "the bank needs Redis 7.0 or newer, or Valkey, with all of its commands: not a Sentinel, \
                        and no renamed commands";
const PASSWORD: &str = "give the server a password, and put it into store.redis.url";
const DATABASE: &str = "name a database in store.redis.url that the server has";

/// `ERR` says little, so these are looked for in the rest of the error, in lower case.
const PHRASES: [(&str, Meaning); 7] = [
    ("max number of clients", Transient),
    // A Sentinel may learn of it later.
    ("no such master", Transient),
    // Of scripts, while a cluster moves a slot or is down.
    ("non local key", Transient),
    ("cluster is down", Transient),
    ("cluster support disabled", Misconfigured(NO_CLUSTER)),
    ("not allowed in cluster mode", Misconfigured(CLUSTER)),
    ("db index", Misconfigured(DATABASE)),
];

impl Meaning {
    pub(super) fn of(error: &FredError) -> Self {
        let Some(code) = reply_code(error) else { return OutcomeUnknown };
        match code {
            "READONLY" | "LOADING" | "MASTERDOWN" => WrongServer,
            // NOSCRIPT is handled where it is expected; another client may flush scripts at any time.
            "OOM" | "MISCONF" | "BUSY" | "NOREPLICAS" | "NOSCRIPT" | "TRYAGAIN" | "INPROG" => Transient,
            "MOVED" | "ASK" | "CROSSSLOT" => Misconfigured(CLUSTER),
            "NOAUTH" | "WRONGPASS" => Misconfigured(CREDENTIALS),
            "NOPERM" => Misconfigured(PERMISSIONS),
            "DENIED" => Misconfigured(PASSWORD),
            "WRONGTYPE" => Corrupt,
            // A wait for replicas was interrupted: the primary has done what came before it. And the client gives
            // `CLUSTERDOWN` to every command that was in flight, whichever it is the reply to.
            "UNBLOCKED" | "CLUSTERDOWN" => OutcomeUnknown,
            _ => {
                let text = error.details().to_ascii_lowercase();
                let known = PHRASES.iter().find(|(phrase, _)| text.contains(phrase));
                // Any error reply means that the command was not executed.
                known.map_or(Misconfigured(COMMANDS), |(_, meaning)| *meaning)
            }
        }
    }
}

/// The first word of an error reply of Redis; `None` if the error is one of the client. Whatever an error reply is
/// for was not done.
pub(super) fn reply_code(error: &FredError) -> Option<&str> {
    let word = error.details().split(' ').next().unwrap_or_default();
    let is_code = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some(word)
}

/// The text of an error, cut to fit a line of a log: some errors come with a page of advice.
pub(super) fn brief(error: &FredError) -> String {
    const CHARS_MAX: usize = 200;
    let text = error.details();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests;
