//! What the Sentinels report: which Redis is the primary, and how soon they replace one that is silent.
//!
//! The store asks all of them itself, before it connects and after, and at each tick of the watchdog.
//! A single one may be behind: the one that knows of the newest failover counts.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use fred::types::{Value, config::Server};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{
    connection::{Connection, command},
    lease::FAILOVER_MARGIN,
    options::RedisOptions,
    reply,
    target::Target,
};
use crate::StoreError;

#[derive(Debug)]
pub(super) struct Sentinels {
    /// What the Sentinels call the primary.
    service_name: Arc<str>,
    all: Vec<Arc<Sentinel>>,
    /// The shortest that any of them has reported.
    down_after_ms: Arc<AtomicU64>,
    options: Arc<RedisOptions>,
}

#[derive(Debug)]
struct Sentinel {
    target: Target,
    /// Kept from one question to the next.
    connection: Mutex<Option<Arc<Connection>>>,
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
    pub(super) fn of(target: &Target) -> Option<Self> {
        let (service_name, targets) = target.sentinels()?;
        let sentinel = |target| Arc::new(Sentinel { target, connection: Mutex::default() });
        Some(Self {
            service_name: service_name.into(),
            all: targets.into_iter().map(sentinel).collect(),
            down_after_ms: Arc::new(AtomicU64::new(u64::MAX)),
            options: Arc::clone(target.options()),
        })
    }

    /// How soon they replace a primary that is silent.
    pub(super) fn down_after_ms(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.down_after_ms)
    }

    /// The primary, by all Sentinels that know of the newest failover; none while it is being replaced.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if they refuse to reply; [`StoreError::Unavailable`] if none replies.
    pub(super) async fn primaries(&self) -> Result<Vec<Server>, StoreError> {
        // Half, so that one that is gone does not use up the time of a check of Redis.
        let deadline = Instant::now() + self.options.command_timeout / 2;
        let mut asked = JoinSet::new();
        for sentinel in &self.all {
            let (sentinel, service_name) = (Arc::clone(sentinel), Arc::clone(&self.service_name));
            asked.spawn(async move { sentinel.report(&service_name, deadline).await });
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

    /// Refuses Sentinels that replace a primary too soon: between two signs of its life there may be the interval
    /// of the watchdog, and a command that takes its time.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], with what to change.
    pub(super) fn require_slow_failover(&self) -> Result<(), StoreError> {
        let down_after_ms = self.down_after_ms.load(Ordering::SeqCst);
        let RedisOptions { command_timeout, watchdog_interval, .. } = *self.options;
        let needed_ms = (command_timeout + watchdog_interval + FAILOVER_MARGIN).as_millis();
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

impl Sentinel {
    async fn report(&self, service_name: &str, deadline: Instant) -> Result<Report, StoreError> {
        let kept = || self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let open = kept().take().filter(|connection| !connection.has_ended());
        let connection = match open {
            Some(connection) => connection,
            None => Connection::open(self.target.clone(), None, deadline).await?,
        };
        let questions = ["MASTER", "GET-MASTER-ADDR-BY-NAME"];
        let questions = questions.map(|question| command("SENTINEL", [question, service_name]));
        let replies = timeout_at(deadline, connection.send_all(questions.into())).await;
        let replies = replies
            .map_err(|_| StoreError::Unavailable(format!("{} does not respond", self.target.address())))??;
        *kept() = Some(connection);
        let [master, address] = reply::array(replies)?;
        Report::read(master, address)
    }
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
