//! What an error that Redis answers means. Redis and Valkey share the codes but not all of the words.

use fred::error::Error as FredError;

/// What an error means for what was asked, and for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing was done, and another server has to be asked: this connection is of no more use.
    Elsewhere,
    /// Nothing was done; the same may succeed later.
    NotNow,
    /// Nothing was done, nor will it be until somebody changes the set-up. With advice.
    Setup(&'static str),
    /// Nothing was done: the data is not what the bank writes.
    Damage,
    /// It may have been done.
    Unknown,
}

use Meaning::{Damage, Elsewhere, NotNow, Setup, Unknown};

const CREDENTIALS: &str = "check the user and the password in store.redis.url (of a Sentinel: \
                           sentinelUsername, sentinelPassword)";
const PERMISSIONS: &str = "give its user the commands and keys that the bank uses (ACL SETUSER)";
const CLUSTER: &str = "this is a node of a Redis Cluster, which is not supported yet: use a stand-alone server, \
                       or Sentinel";
const COMMANDS: &str = "the bank needs Redis 7.0 or newer, or Valkey, with all of its commands: not a Sentinel, \
                        nor one whose commands are renamed";

/// By the first word of the error.
const CODES: [(&str, Meaning); 21] = [
    ("READONLY", Elsewhere),
    ("LOADING", Elsewhere),
    ("MASTERDOWN", Elsewhere),
    ("OOM", NotNow),
    ("MISCONF", NotNow),
    ("BUSY", NotNow),
    ("NOREPLICAS", NotNow),
    // Reloaded where it is expected; another client may flush scripts at any time.
    ("NOSCRIPT", NotNow),
    ("CLUSTERDOWN", NotNow),
    ("TRYAGAIN", NotNow),
    ("INPROG", NotNow),
    ("MOVED", Setup(CLUSTER)),
    ("ASK", Setup(CLUSTER)),
    ("CROSSSLOT", Setup(CLUSTER)),
    ("NOAUTH", Setup(CREDENTIALS)),
    ("WRONGPASS", Setup(CREDENTIALS)),
    ("NOPERM", Setup(PERMISSIONS)),
    ("DENIED", Setup("give the server a password, and put it into store.redis.url")),
    ("NOPROTO", Setup(COMMANDS)),
    ("WRONGTYPE", Damage),
    // A wait for replicas was broken off: what it waited for has been done here.
    ("UNBLOCKED", Unknown),
];

/// `ERR` says little: by what else the error says, in lower case.
const WORDS: [(&str, Meaning); 6] = [
    ("max number of clients", NotNow),
    // A Sentinel may yet be told of it.
    ("no such master", NotNow),
    // Of scripts, while a cluster moves a slot or is down.
    ("non local key", NotNow),
    ("cluster is down", NotNow),
    ("not allowed in cluster mode", Setup(CLUSTER)),
    ("db index", Setup("name a database in store.redis.url that the server has")),
];

impl Meaning {
    pub(super) fn of(error: &FredError) -> Self {
        reply_code(error).map_or(Unknown, |code| Self::of_reply(code, error.details()))
    }

    fn of_reply(code: &str, text: &str) -> Self {
        if let Some((_, meaning)) = CODES.iter().find(|(known, _)| *known == code) {
            return *meaning;
        }
        let text = text.to_ascii_lowercase();
        let told = WORDS.iter().find(|(words, _)| text.contains(words));
        // Whatever else it is, it is an answer: the command was not carried out.
        told.map_or(Setup(COMMANDS), |(_, meaning)| *meaning)
    }
}

/// The first word of an error that Redis itself answered: whatever was asked was not done.
pub(super) fn reply_code(error: &FredError) -> Option<&str> {
    let word = error.details().split(' ').next().unwrap_or_default();
    let shouted = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    shouted.then_some(word)
}

/// What Redis said, as far as a line of a log can hold it: some errors come with a page of advice.
pub(super) fn brief(error: &FredError) -> String {
    const CHARS_MAX: usize = 200;
    let text = error.details();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fred::error::ErrorKind;

    use super::*;

    fn error(text: &str) -> FredError {
        FredError::new(ErrorKind::Unknown, text.to_owned())
    }

    /// As Redis 7.0.15, Redis 8.2.3 and Valkey 9.1.2 word them; one line where they agree.
    #[test]
    fn replies_of_each_server_have_their_meaning() {
        for (text, meaning) in [
            ("READONLY You can't write against a read only replica.", Elsewhere),
            ("LOADING Redis is loading the dataset in memory", Elsewhere),
            ("LOADING Valkey is loading the dataset in memory", Elsewhere),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Elsewhere),
            ("OOM command not allowed when used memory > 'maxmemory'.", NotNow),
            ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to", NotNow),
            ("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to", NotNow),
            ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", NotNow),
            ("BUSY Valkey is busy running a script. You can only call SCRIPT KILL", NotNow),
            ("NOREPLICAS Not enough good replicas to write.", NotNow),
            ("NOSCRIPT No matching script. Please use EVAL.", NotNow),
            ("NOSCRIPT No matching script.", NotNow),
            ("CLUSTERDOWN Hash slot not served", NotNow),
            ("TRYAGAIN Multiple keys request during rehashing of slot", NotNow),
            ("ERR max number of clients reached", NotNow),
            ("ERR max number of clients + cluster connections reached", NotNow),
            ("ERR No such master with that name", NotNow),
            (
                "ERR Script attempted to access a non local key in a cluster node script: 49, on @user_script:1.",
                NotNow,
            ),
            ("ERR Attempted to access a non local key in a cluster node script: on @user_script:1.", NotNow),
            (
                "ERR Script attempted to execute a write command while the cluster is down and readonly",
                NotNow,
            ),
            ("ERR Can not execute a write command while the cluster is down and readonly", NotNow),
            ("MOVED 9842 127.0.0.1:7001", Setup(CLUSTER)),
            ("MOVED 9842 :7001", Setup(CLUSTER)),
            ("ASK 9842 127.0.0.1:7001", Setup(CLUSTER)),
            ("CROSSSLOT Keys in request don't hash to the same slot", Setup(CLUSTER)),
            ("ERR SELECT is not allowed in cluster mode", Setup(CLUSTER)),
            ("NOAUTH Authentication required.", Setup(CREDENTIALS)),
            ("WRONGPASS invalid username-password pair or user is disabled.", Setup(CREDENTIALS)),
            ("NOPERM this user has no permissions to run the 'evalsha' command", Setup(PERMISSIONS)),
            ("NOPERM User t has no permissions to run the 'evalsha' command", Setup(PERMISSIONS)),
            ("NOPERM No permissions to access a key", Setup(PERMISSIONS)),
            ("ERR unknown command 'SCRIPT', with args beginning with: 'LOAD'", Setup(COMMANDS)),
            (
                "ERR This Redis command is not allowed from script script: a8, on @user_script:1.",
                Setup(COMMANDS),
            ),
            (
                "ERR This Valkey command is not allowed from script script: on @user_script:1.",
                Setup(COMMANDS),
            ),
            ("SOMETHING that nobody has heard of", Setup(COMMANDS)),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Damage),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value script: on @user_script:1.",
                Damage,
            ),
            ("UNBLOCKED force unblock from blocking operation, instance state changed", Unknown),
            // Of the client, not of Redis.
            ("Request timed out.", Unknown),
            ("Connection reset by peer (os error 104)", Unknown),
            ("", Unknown),
        ] {
            assert_eq!(Meaning::of(&error(text)), meaning, "{text}");
        }
        for (text, advice) in [
            ("DENIED Redis is running in protected mode because protected mode is enabled", "password"),
            ("ERR DB index is out of range", "database"),
        ] {
            let Setup(told) = Meaning::of(&error(text)) else { panic!("{text}") };
            assert!(told.contains(advice), "{text}: {told}");
        }
    }

    #[test]
    fn long_errors_are_cut() {
        assert_eq!(brief(&error("ERR short \r\n")), "ERR short");
        assert_eq!(brief(&error(&"é".repeat(1_000))), format!("{}...", "é".repeat(200)));
    }
}
