//! Which primary of a cluster has which slots, as the cluster itself says.
//!
//! Several nodes are asked at once, each on a connection of its own. A single one may be behind: one that was frozen still
//! names itself. So the view with the highest epoch counts, which grows with each failover and each move of a slot, and no
//! earlier one is taken back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::types::config::Server;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{connection::command, contact::Contact, reply, slots::SlotMap, target::Target};
use crate::StoreError;

/// How many nodes are asked at once.
const ASKED_MAX: usize = 5;
/// How long other nodes are waited for once the first has replied.
const GRACE: Duration = Duration::from_millis(50);
/// How long a node without slots belongs to the cluster after it was named as one that a slot moves to.
const RECEIVER_KEPT: Duration = Duration::from_secs(30);
/// How many such nodes are remembered.
const RECEIVERS_MAX: usize = 64;

pub(super) struct Topology {
    target: Target,
    known: watch::Sender<Known>,
    /// When the newest question was asked, and what came of it. Locked while it is asked.
    last: tokio::sync::Mutex<Option<(Instant, Result<(), StoreError>)>>,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    map: Arc<SlotMap>,
    epoch: u64,
}

#[derive(Default)]
struct State {
    contacts: HashMap<Server, Arc<Contact>>,
    /// Nodes that slots move to, and when they were last named.
    receivers: HashMap<Server, Instant>,
    /// Where the next question begins among the nodes.
    turn: usize,
}

struct View {
    epoch: u64,
    map: SlotMap,
}

impl Topology {
    /// For a target that is a cluster. Nothing is known until the first [`Topology::refresh`].
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            known: watch::Sender::default(),
            last: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn map(&self) -> Arc<SlotMap> {
        Arc::clone(&self.known.borrow().map)
    }

    /// Is notified of each change of the map.
    pub(super) fn changes(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// A node that slots move to, although it may have none yet.
    pub(super) fn receives(&self, node: &Server) {
        let mut state = self.state();
        let now = Instant::now();
        if state.receivers.len() >= RECEIVERS_MAX {
            state.receivers.retain(|_, named_at| now - *named_at < RECEIVER_KEPT);
        }
        if state.receivers.len() < RECEIVERS_MAX {
            state.receivers.insert(node.clone(), now);
        }
    }

    /// Whether slots move to a node.
    pub(super) fn is_receiver(&self, node: &Server) -> bool {
        self.state().receivers.get(node).is_some_and(|named_at| named_at.elapsed() < RECEIVER_KEPT)
    }

    /// # Errors
    /// [`StoreError::Unavailable`] if the cluster gives this node no slots.
    pub(super) fn require_named(&self, node: &Target) -> Result<(), StoreError> {
        let is_named = node.server().is_some_and(|server| {
            self.known.borrow().map.nodes().contains(server) || self.is_receiver(server)
        });
        let address = node.address();
        let error =
            || StoreError::Unavailable(format!("{address} has no slots in the cluster; another node does"));
        is_named.then_some(()).ok_or_else(error)
    }

    /// Asks the cluster, unless it was asked after this time: callers that come together share one question. The informer
    /// is asked first, since it knows of a change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no node replies; [`StoreError::Misconfigured`] if they refuse to.
    pub(super) async fn refresh(
        &self,
        not_before: Instant,
        informer: Option<&Server>,
    ) -> Result<(), StoreError> {
        let mut last = self.last.lock().await;
        if let Some((asked_at, outcome)) = &*last
            && *asked_at >= not_before
        {
            return outcome.clone();
        }
        let asked_at = Instant::now();
        let outcome = self.ask(informer).await;
        *last = Some((asked_at, outcome.clone()));
        outcome
    }

    async fn ask(&self, informer: Option<&Server>) -> Result<(), StoreError> {
        // Half, so that nodes that are gone do not use up the time of a check.
        let deadline = Instant::now() + self.target.options().command_timeout / 2;
        let contacts = self.contacts(informer);
        let asked_count = contacts.len();
        let mut asked = JoinSet::new();
        for (place, contact) in contacts.into_iter().enumerate() {
            asked.spawn(async move { (place, view(&contact, deadline).await) });
        }
        let (mut views, mut error, mut wait_until) = (Vec::new(), None, deadline);
        while let Ok(Some(answer)) = timeout_at(wait_until, asked.join_next()).await {
            match answer {
                Ok((place, Ok(view))) => {
                    views.push((place, view));
                    wait_until = deadline.min(Instant::now() + GRACE);
                }
                // A refusal says more than a failed connection.
                Ok((_, Err(refusal @ StoreError::Misconfigured(_)))) => error = Some(refusal),
                Ok((_, Err(other))) => error = error.or(Some(other)),
                Err(_) => {}
            }
        }
        let have_all_replied = views.len() == asked_count;
        // Of equal epochs, the view of the node that was asked first.
        views.sort_unstable_by_key(|(place, view)| (std::cmp::Reverse(view.epoch), *place));
        let Some((_, View { epoch, map })) = views.into_iter().next() else {
            let none = || StoreError::Unavailable(format!("no node of {} responds", self.target.address()));
            return Err(error.unwrap_or_else(none));
        };
        if epoch < self.known.borrow().epoch && !have_all_replied {
            return Err(StoreError::Unavailable(format!(
                "the nodes of {} that respond are behind the others",
                self.target.address()
            )));
        }
        self.known.send_if_modified(|known| {
            known.epoch = epoch;
            let is_new = *known.map != map;
            if is_new {
                known.map = Arc::new(map);
            }
            is_new
        });
        Ok(())
    }

    /// Whom to ask: the informer, then nodes with slots in turn, then those of the URL.
    fn contacts(&self, informer: Option<&Server>) -> Vec<Arc<Contact>> {
        let map = self.map();
        let mut state = self.state();
        state.turn = state.turn.wrapping_add(1);
        let nodes = map.nodes();
        let turn = state.turn % nodes.len().max(1);
        let mut servers: Vec<&Server> = Vec::new();
        let candidates = informer.into_iter().chain(&nodes[turn..]).chain(&nodes[..turn]);
        for server in candidates.chain(self.target.seeds()) {
            if servers.len() < ASKED_MAX && !servers.contains(&server) {
                servers.push(server);
            }
        }
        let known = |server: &Server| nodes.contains(server) || self.target.seeds().contains(server);
        state.contacts.retain(|server, _| known(server) || servers.contains(&server));
        let contacts = servers.into_iter().map(|server| {
            let contact = state.contacts.entry(server.clone());
            Arc::clone(contact.or_insert_with(|| Arc::new(Contact::new(self.target.node(server)))))
        });
        contacts.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn view(node: &Contact, deadline: Instant) -> Result<View, StoreError> {
    let questions = ["INFO", "SLOTS"].map(|question| command("CLUSTER", [question]));
    let [info, slots] = reply::array(node.ask(questions.into(), deadline).await?)?;
    let info = reply::text(info)?;
    let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
    let epoch = epoch.and_then(|epoch| epoch.trim().parse().ok());
    let epoch = epoch.ok_or_else(|| reply::unexpected("cluster_current_epoch in CLUSTER INFO"))?;
    let asked = node.target().server().ok_or_else(|| reply::unexpected("a node with an address"))?;
    Ok(View { epoch, map: SlotMap::read(slots, asked)? })
}
