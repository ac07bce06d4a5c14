//! The slots of a Redis Cluster: which node has which, and the replies that send a command to another node.

use fred::types::{Value, config::Server};

use super::reply;
use crate::StoreError;

/// How many slots every cluster has.
pub(super) const SLOTS: u16 = 16_384;

/// Nobody has this slot.
const NOBODY: u16 = u16::MAX;

/// The slot of a key: that of its hash tag, if it has one.
pub(super) fn slot_of(key: &str) -> u16 {
    fred::util::redis_keyslot(key.as_bytes())
}

/// Which primary has which slot, as one node of the cluster sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotMap {
    nodes: Vec<Server>,
    /// For each slot the place of its primary in `nodes`.
    owners: Vec<u16>,
}

impl SlotMap {
    /// Reads the reply to `CLUSTER SLOTS` of a node that was reached at this address.
    pub(super) fn read(slots: Value, asked: &Server) -> Result<Self, StoreError> {
        let mut map = Self { nodes: Vec::new(), owners: vec![NOBODY; SLOTS.into()] };
        for range in reply::list(slots)? {
            let mut range = reply::list(range)?.into_iter();
            let mut next = || range.next().ok_or_else(|| reply::unexpected("a range of slots"));
            let (first, last) = (slot(&next()?)?, slot(&next()?)?);
            let node = node(next()?, asked)?;
            let place = map.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
                map.nodes.push(node);
                map.nodes.len() - 1
            });
            let place = u16::try_from(place).map_err(|_| reply::unexpected("fewer nodes than slots"))?;
            let owners = map.owners.get_mut(usize::from(first)..=usize::from(last));
            owners.ok_or_else(|| reply::unexpected("slots in order"))?.fill(place);
        }
        Ok(map)
    }

    /// The primaries that have slots.
    pub(super) fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The primary of a slot; `None` if nobody has it.
    pub(super) fn owner(&self, slot: u16) -> Option<&Server> {
        let place = self.owners.get(usize::from(slot))?;
        self.nodes.get(usize::from(*place))
    }

    /// How many slots nobody has.
    pub(super) fn missing(&self) -> usize {
        self.owners.iter().filter(|owner| **owner == NOBODY).count()
    }
}

fn slot(value: &Value) -> Result<u16, StoreError> {
    let slot = u16::try_from(reply::integer(value)?).ok().filter(|slot| *slot < SLOTS);
    slot.ok_or_else(|| reply::unexpected("a slot"))
}

/// A node: its host, its port, its id, and from Redis 7.0 on other names of its host.
fn node(value: Value, asked: &Server) -> Result<Server, StoreError> {
    let mut parts = reply::list(value)?.into_iter();
    let host = parts.next().unwrap_or(Value::Null).into_string().unwrap_or_default();
    let port = parts.next().as_ref().and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| reply::unexpected("the port of a node"))?;
    // The cluster prefers host names, and this node has none.
    let host = if host == "?" {
        let names = reply::fields(parts.nth(1).unwrap_or(Value::Null))?;
        names.get("ip").map(|ip| String::from_utf8_lossy(ip).into_owned()).unwrap_or_default()
    } else {
        host
    };
    Ok(server(&host, port, asked))
}

/// A node that does not know its own host leaves it out: it is where it was asked.
fn server(host: &str, port: u16, asked: &Server) -> Server {
    if host.is_empty() { Server::new(asked.host.clone(), port) } else { Server::new(host, port) }
}

/// A reply that sends a command elsewhere, or says to wait. The command was not carried out, except perhaps for
/// [`Redirect::Down`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot belongs to this node now.
    Moved(Server),
    /// The keys that are left of the slot are here, the others have moved to this node already: this command may go there.
    Ask(Server),
    /// The slot is being moved, and the keys of this command are on both nodes, or do not exist yet.
    TryAgain,
    /// The cluster is down, or nobody has the slot. The client closes the connection then, and gives this error to everything
    /// that is in flight on it, so the command may have been carried out.
    Down,
}

impl Redirect {
    /// Reads an error of a node that was reached at this address.
    pub(super) fn of(error: &str, asked: &Server) -> Option<Self> {
        let (code, rest) = error.split_once(' ').unwrap_or((error, ""));
        let node = || {
            // An IPv6 address has colons too.
            let (host, port) = rest.split(' ').nth(1)?.trim_end().rsplit_once(':')?;
            Some(server(host, port.parse().ok()?, asked))
        };
        match code {
            "MOVED" => node().map(Self::Moved),
            "ASK" => node().map(Self::Ask),
            "TRYAGAIN" => Some(Self::TryAgain),
            "CLUSTERDOWN" => Some(Self::Down),
            // Of scripts: only if a key were not declared, which is a bug, or reads are allowed while the cluster is down.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
