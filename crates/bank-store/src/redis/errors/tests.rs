use fred::error::ErrorKind;

use super::*;

fn error(text: &str) -> FredError {
    FredError::new(ErrorKind::Unknown, text.to_owned())
}

/// As Redis 7.0.15, Redis 8.2.3 and Valkey 9.1.2 word them; one line where they agree.
#[test]
fn error_replies_of_every_server_are_understood() {
    for (text, meaning) in [
        ("READONLY You can't write against a read only replica.", WrongServer),
        ("LOADING Redis is loading the dataset in memory", WrongServer),
        ("LOADING Valkey is loading the dataset in memory", WrongServer),
        ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", WrongServer),
        ("OOM command not allowed when used memory > 'maxmemory'.", Transient),
        ("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to", Transient),
        ("MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to", Transient),
        ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", Transient),
        ("BUSY Valkey is busy running a script. You can only call SCRIPT KILL", Transient),
        ("NOREPLICAS Not enough good replicas to write.", Transient),
        ("NOSCRIPT No matching script. Please use EVAL.", Transient),
        ("NOSCRIPT No matching script.", Transient),
        ("CLUSTERDOWN Hash slot not served", OutcomeUnknown),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Transient),
        ("ERR max number of clients reached", Transient),
        ("ERR max number of clients + cluster connections reached", Transient),
        ("ERR No such master with that name", Transient),
        (
            "ERR Script attempted to access a non local key in a cluster node script: 49, on @user_script:1.",
            Transient,
        ),
        ("ERR Attempted to access a non local key in a cluster node script: on @user_script:1.", Transient),
        ("ERR Script attempted to execute a write command while the cluster is down and readonly", Transient),
        ("ERR Can not execute a write command while the cluster is down and readonly", Transient),
        ("MOVED 9842 127.0.0.1:7001", Misconfigured(CLUSTER)),
        ("MOVED 9842 :7001", Misconfigured(CLUSTER)),
        ("ASK 9842 127.0.0.1:7001", Misconfigured(CLUSTER)),
        ("CROSSSLOT Keys in request don't hash to the same slot", Misconfigured(CLUSTER)),
        ("ERR SELECT is not allowed in cluster mode", Misconfigured(CLUSTER)),
        ("ERR This instance has cluster support disabled", Misconfigured(NO_CLUSTER)),
        ("NOAUTH Authentication required.", Misconfigured(CREDENTIALS)),
        ("WRONGPASS invalid username-password pair or user is disabled.", Misconfigured(CREDENTIALS)),
        ("NOPERM this user has no permissions to run the 'evalsha' command", Misconfigured(PERMISSIONS)),
        ("NOPERM User t has no permissions to run the 'evalsha' command", Misconfigured(PERMISSIONS)),
        ("NOPERM No permissions to access a key", Misconfigured(PERMISSIONS)),
        ("ERR unknown command 'SCRIPT', with args beginning with: 'LOAD'", Misconfigured(COMMANDS)),
        (
            "ERR This Redis command is not allowed from script script: a8, on @user_script:1.",
            Misconfigured(COMMANDS),
        ),
        (
            "ERR This Valkey command is not allowed from script script: on @user_script:1.",
            Misconfigured(COMMANDS),
        ),
        ("SOMETHING that nobody has heard of", Misconfigured(COMMANDS)),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Corrupt),
        (
            "WRONGTYPE Operation against a key holding the wrong kind of value script: on @user_script:1.",
            Corrupt,
        ),
        ("UNBLOCKED force unblock from blocking operation, instance state changed", OutcomeUnknown),
        // Errors of the client, not of Redis.
        ("Request timed out.", OutcomeUnknown),
        ("Connection reset by peer (os error 104)", OutcomeUnknown),
        ("", OutcomeUnknown),
    ] {
        assert_eq!(Meaning::of(&error(text)), meaning, "{text}");
    }
    for (text, advice) in [
        ("DENIED Redis is running in protected mode because protected mode is enabled", "password"),
        ("ERR DB index is out of range", "database"),
    ] {
        let Misconfigured(actual) = Meaning::of(&error(text)) else { panic!("{text}") };
        assert!(actual.contains(advice), "{text}: {actual}");
    }
}

#[test]
fn long_errors_are_cut() {
    assert_eq!(brief(&error("ERR short \r\n")), "ERR short");
    assert_eq!(brief(&error(&"é".repeat(1_000))), format!("{}...", "é".repeat(200)));
}
