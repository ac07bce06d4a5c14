//! Finds the primary: the server of the URL, the one that the Sentinels name, or a node that a cluster names.
//!
//! The Sentinels also report how soon they replace a primary that is silent. The store asks all of them itself, before it
//! connects and after, and at each tick of the watchdog. A single one may be behind: the one that knows of the newest
//! failover counts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fred::types::{Value, config::Server};
use tokio::{task::JoinSet, time::Instant};

use super::{
    connection::{Connection, command},
    contact::Contact,
    lease::silence_min,
    options::RedisOptions,
    reply,
    target::Target,
    topology::Topology,
};
use crate::StoreError;

pub(super) struct Locator {
    target: Target,
    /// Who names the primary; `None` if the URL does.
    judge: Option<Judge>,
}

enum Judge {
    Sentinels(Sentinels),
    Cluster {
        topology: Arc<Topology>,
        /// The `cluster-node-timeout` of the node. Until it is known, the least that is required.
        node_timeout_ms: Arc<AtomicU64>,
    },
}

impl Locator {
    /// For the only primary of a URL that names no cluster.
    pub(super) fn new(target: Target) -> Self {
        Self { judge: Sentinels::of(&target).map(Judge::Sentinels), target }
    }

    /// For one primary of a cluster.
    pub(super) fn of_node(topology: &Arc<Topology>, node: &Server) -> Self {
        let target = topology.target().node(node);
        let silence_ms = u64::try_from(silence_min(target.options()).as_millis()).unwrap_or(u64::MAX);
        let node_timeout_ms = Arc::new(AtomicU64::new(silence_ms));
        Self { target, judge: Some(Judge::Cluster { topology: Arc::clone(topology), node_timeout_ms }) }
    }

    pub(super) fn address(&self) -> &str {
        self.target.address()
    }

    pub(super) fn options(&self) -> &Arc<RedisOptions> {
        self.target.options()
    }

    /// Records how soon the cluster replaces this node.
    pub(super) fn node_timeout_is(&self, timeout_ms: u64) {
        if let Some(Judge::Cluster { node_timeout_ms, .. }) = &self.judge {
            node_timeout_ms.store(timeout_ms, Ordering::SeqCst);
        }
    }

    /// Connects to the primary.
    ///
    /// # Errors
    /// As [`Connection::open`]; [`StoreError::Unavailable`] while the primary is being replaced, or if the cluster names
    /// another; [`StoreError::Misconfigured`] if the Sentinels replace one too soon.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Arc<Connection>, StoreError> {
        let (target, down_after_ms) = match &self.judge {
            None => return Connection::open(self.target.clone(), None, deadline).await,
            Some(Judge::Sentinels(sentinels)) => {
                let primary = sentinels.primaries().await?.into_iter().next();
                sentinels.require_slow_failover()?;
                let primary = primary.ok_or_else(|| {
                    StoreError::Unavailable("the Sentinels are replacing the primary".to_owned())
                })?;
                (self.target.primary(primary), &sentinels.down_after_ms)
            }
            Some(Judge::Cluster { topology, node_timeout_ms }) => {
                topology.refresh(Instant::now(), None).await?;
                topology.require_named(&self.target)?;
                (self.target.clone(), node_timeout_ms)
            }
        };
        let connection = Connection::open(target, Some(Arc::clone(down_after_ms)), deadline).await?;
        // One that was frozen may have been replaced before it accepted the connection.
        self.confirm(&connection, Instant::now()).await?;
        Ok(connection)
    }

    /// Asks the Sentinels or the cluster, if there are any, whether a connection still leads to the primary; closes it if
    /// not. What a cluster has answered since `not_before` is not asked again.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it does not, or nobody replies.
    pub(super) async fn confirm(
        &self,
        connection: &Connection,
        not_before: Instant,
    ) -> Result<(), StoreError> {
        let confirmed = match &self.judge {
            None => return Ok(()),
            Some(Judge::Sentinels(sentinels)) => {
                let primaries = sentinels.primaries().await?;
                let server = connection.target().server();
                let is_primary = server.is_some_and(|server| primaries.contains(server));
                match sentinels.require_slow_failover() {
                    Ok(()) if !is_primary => {
                        Err(StoreError::Unavailable("the Sentinels name another primary".to_owned()))
                    }
                    other => other,
                }
            }
            Some(Judge::Cluster { topology, .. }) => {
                topology.refresh(not_before, None).await?;
                topology.require_named(&self.target)
            }
        };
        if let Err(error) = &confirmed {
            connection.close(&error.to_string());
        }
        confirmed
    }
}

struct Sentinels {
    /// What the Sentinels call the primary.
    service_name: Arc<str>,
    all: Vec<Arc<Contact>>,
    /// The shortest that any of them has reported.
    down_after_ms: Arc<AtomicU64>,
    options: Arc<RedisOptions>,
}

#[derive(Debug, PartialEq, Eq)]
struct Report {
    primary: Server,
    /// It grows with each failover.
    config_epoch: u64,
    down_after_ms: u64,
    /// Whether the primary is being replaced, or about to be.
    is_failing_over: bool,
}

impl Sentinels {
    /// The Sentinels of a URL; `None` if it names a Redis itself.
    fn of(target: &Target) -> Option<Self> {
        let (service_name, targets) = target.sentinels()?;
        Some(Self {
            service_name: service_name.into(),
            all: targets.into_iter().map(|target| Arc::new(Contact::new(target))).collect(),
            down_after_ms: Arc::new(AtomicU64::new(u64::MAX)),
            options: Arc::clone(target.options()),
        })
    }

    /// The primary, by all Sentinels that know of the newest failover; none while it is being replaced.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if they refuse to reply; [`StoreError::Unavailable`] if none replies.
    async fn primaries(&self) -> Result<Vec<Server>, StoreError> {
        // Half, so that one that is gone does not use up the time of a check of Redis.
        let deadline = Instant::now() + self.options.command_timeout / 2;
        let mut asked = JoinSet::new();
        for sentinel in &self.all {
            let (sentinel, service_name) = (Arc::clone(sentinel), Arc::clone(&self.service_name));
            asked.spawn(async move { report(&sentinel, &service_name, deadline).await });
        }
        let (mut reports, mut error) = (Vec::new(), None);
        for answer in asked.join_all().await {
            match answer {
                Ok(report) => reports.push(report),
                // A refusal says more than a failed connection.
                Err(refusal @ StoreError::Misconfigured(_)) => error = Some(refusal),
                Err(other) => error = error.or(Some(other)),
            }
        }
        let Some(epoch) = reports.iter().map(|report| report.config_epoch).max() else {
            return Err(error.unwrap_or_else(|| StoreError::Unavailable("no Sentinel responds".to_owned())));
        };
        let down_after_ms = reports.iter().map(|report| report.down_after_ms).min().unwrap_or(u64::MAX);
        self.down_after_ms.store(down_after_ms, Ordering::SeqCst);
        reports.retain(|report| report.config_epoch == epoch);
        if reports.iter().any(|report| report.is_failing_over) {
            return Ok(Vec::new());
        }
        Ok(reports.into_iter().map(|report| report.primary).collect())
    }

    /// Refuses Sentinels that replace a primary too soon.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], with what to change.
    fn require_slow_failover(&self) -> Result<(), StoreError> {
        let down_after_ms = self.down_after_ms.load(Ordering::SeqCst);
        let RedisOptions { command_timeout, watchdog_interval, .. } = *self.options;
        let needed_ms = silence_min(&self.options).as_millis();
        if u128::from(down_after_ms) >= needed_ms {
            return Ok(());
        }
        let name = &self.service_name;
        Err(StoreError::Misconfigured(format!(
            "Sentinel replaces the primary {name} once it is silent for {down_after_ms} ms \
             (down-after-milliseconds); store.redis.command_timeout_ms = {} with \
             store.redis.watchdog_interval_ms = {} needs at least {needed_ms} ms, or a primary that was frozen could \
             acknowledge writes that are lost; run `SENTINEL SET {name} down-after-milliseconds {needed_ms}` on each \
             Sentinel, or lower those settings",
            command_timeout.as_millis(),
            watchdog_interval.as_millis(),
        )))
    }
}

async fn report(sentinel: &Contact, service_name: &str, deadline: Instant) -> Result<Report, StoreError> {
    let questions = ["MASTER", "GET-MASTER-ADDR-BY-NAME"];
    let questions = questions.map(|question| command("SENTINEL", [question, service_name]));
    let [master, address] = reply::array(sentinel.ask(questions.into(), deadline).await?)?;
    Report::read(master, address)
}

impl Report {
    fn read(master: Value, address: Value) -> Result<Self, StoreError> {
        let fields = reply::fields(master)?;
        let missing = |name: &str| reply::unexpected(&format!("{name} from a Sentinel"));
        let field = |name: &str| {
            let value = fields.get(name).and_then(|value| std::str::from_utf8(value).ok());
            value.ok_or_else(|| missing(name))
        };
        let number = |name: &str| field(name)?.parse::<u64>().map_err(|_| missing(name));
        // `MASTER` names the old primary until a failover is complete; this, the new one once it is promoted.
        let [host, port] = reply::pair(address)?;
        let (host, port) = (reply::text(host)?, reply::text(port)?);
        let is_replaced = field("ip")? != host || field("port")? != port;
        let is_flagged =
            field("flags")?.split(',').any(|flag| matches!(flag, "o_down" | "failover_in_progress"));
        Ok(Self {
            primary: Server::new(host, port.parse().map_err(|_| missing("port"))?),
            config_epoch: number("config-epoch")?,
            down_after_ms: number("down-after-milliseconds")?,
            is_failing_over: is_flagged && !is_replaced,
        })
    }
}
