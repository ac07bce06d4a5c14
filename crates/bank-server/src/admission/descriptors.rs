//! Room for connections: each takes a file descriptor, of which a process gets only so many.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections the admin port may have. Those of callers cannot take their file descriptors, nor the
/// reverse.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// What the process needs besides the connections of callers: those to the store and of the admin port, files, the
/// log.
const RESERVED: u64 = 256 + ADMIN_CONNECTIONS_MAX as u64;

/// Asks the system for enough file descriptors for so many connections, and tells how many there can
/// be.
pub(crate) fn make_room(connections_max: usize) -> usize {
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(current) {
        return connections_max;
    }
    let raised = Some(maximum.map_or(wanted, |maximum| wanted.min(maximum)));
    // A rejection leaves the limit as it is, which is looked at next.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: raised, maximum });
    let current = getrlimit(Resource::Nofile).current;
    if enough(current) {
        return connections_max;
    }
    let descriptors = current.unwrap_or(wanted);
    let possible = usize::try_from(descriptors.saturating_sub(RESERVED).max(1)).unwrap_or(connections_max);
    tracing::warn!(
        connections_max,
        descriptors,
        possible,
        "the system gives this process too few file descriptors for server.connections_max: raise its \
         limit (ulimit -n, LimitNOFILE) or lower the setting"
    );
    possible
}
