//! The limit on open files: each connection takes a file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many connections the admin port may have. Connections of callers cannot take their file descriptors, nor the
/// reverse.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;

/// File descriptors for everything but the connections of callers: the store, the admin port, files, the log.
const RESERVED: u64 = 256 + ADMIN_CONNECTIONS_MAX as u64;

/// Raises the limit on open files for so many connections if necessary, and returns how many there can be.
pub(crate) fn connections_possible(connections_max: usize) -> usize {
    let wanted = u64::try_from(connections_max).unwrap_or(u64::MAX).saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if enough(current) {
        return connections_max;
    }
    let raised = Some(maximum.map_or(wanted, |maximum| wanted.min(maximum)));
    // If that fails, the limit stays as it is, which is checked next.
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
        "too few file descriptors for server.connections_max: raise the limit on open files \
         (ulimit -n, LimitNOFILE) or lower the setting"
    );
    possible
}
