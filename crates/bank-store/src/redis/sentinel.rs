//! What the Sentinels say: which Redis is the primary, and how soon they replace one that is silent.
//!
//! The store asks all of them itself, before it connects and after, and at each tick of the watchdog.
//! A single one may be behind: that of the newest failover counts.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fred::{
    cmd,
    interfaces::ClientLike as _,
    types::{
        Value,
        config::{Config, Server, ServerConfig},
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{RedisOptions, connection::Connection, reply, target::Target};
use crate::StoreError;

/// How much sooner than Sentinel we call a primary silent: for the way of its commands, and for what
/// clocks and rounding differ in.
const MARGIN: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Sentinels {
    service_name: String,
    each: Vec<Sentinel>,
    /// The shortest `down-after-milliseconds` that was told.
    down_after_ms: AtomicU64,
    command_timeout: Duration,
    watchdog_interval: Duration,
}

#[derive(Debug)]
struct Sentinel {
    target: Target,
    /// Kept from one question to the next.
    connection: Mutex<Option<Connection>>,
}

/// Where the primary is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What one Sentinel says.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    place: Place,
    /// It grows with each failover.
    config_epoch: u64,
    down_after_ms: u64,
    /// Whether the primary is being replaced, or about to be.
    is_failing_over: bool,
}

impl Sentinels {
    /// Those of a URL, or `None` if it names a Redis itself.
    pub(super) fn of(config: &Config, options: &RedisOptions) -> Option<Arc<Self>> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &config.server else {
            return None;
        };
        let sentinel = |server: &Server| {
            let config = Config {
                server: ServerConfig::Centralized { server: server.clone() },
                username: username.clone(),
                password: password.clone(),
                database: None,
                ..config.clone()
            };
            Sentinel {
                target: Target::plain(
                    config,
                    &format!("{}:{} (a Sentinel)", server.host, server.port),
                    options,
                ),
                connection: Mutex::new(None),
            }
        };
        Some(Arc::new(Self {
            service_name: service_name.clone(),
            each: hosts.iter().map(sentinel).collect(),
            down_after_ms: AtomicU64::new(u64::MAX),
            command_timeout: options.command_timeout,
            watchdog_interval: options.watchdog_interval,
        }))
    }

    /// The primary, by the newest failover that any Sentinel knows of.
    ///
    /// # Errors
    /// As [`Sentinels::primaries`]; [`StoreError::Unavailable`] while it is being replaced;
    /// [`StoreError::Misconfigured`] if they replace one too soon.
    pub(super) async fn primary(self: &Arc<Self>) -> Result<Place, StoreError> {
        let place = self.primaries().await?.into_iter().next();
        self.require_patience()?;
        place.ok_or_else(|| StoreError::Unavailable("the Sentinels are replacing the primary".to_owned()))
    }

    /// What the primary is called, by all Sentinels that know of the newest failover; nothing while it is
    /// being replaced.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`] if they refuse to answer; [`StoreError::Unavailable`] if none answers.
    pub(super) async fn primaries(self: &Arc<Self>) -> Result<Vec<Place>, StoreError> {
        // Half, so that one that is gone does not use up the time of a look at Redis.
        let deadline = Instant::now() + self.command_timeout / 2;
        let mut asked = JoinSet::new();
        for number in 0..self.each.len() {
            let all = Arc::clone(self);
            asked.spawn(async move { all.ask(&all.each[number], deadline).await });
        }
        let (mut reports, mut error) = (Vec::new(), None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(report)) => reports.push(report),
                // One that refuses says more than one that cannot be reached.
                Ok(Err(rejection @ StoreError::Misconfigured(_))) => error = Some(rejection),
                Ok(Err(other)) => error = error.or(Some(other)),
                Err(_) => {}
            }
        }
        let Some(epoch) = reports.iter().map(|report| report.config_epoch).max() else {
            return Err(error.unwrap_or_else(|| StoreError::Unavailable("no Sentinel answers".to_owned())));
        };
        let down_after_ms = reports.iter().map(|report| report.down_after_ms).min().unwrap_or(u64::MAX);
        self.down_after_ms.store(down_after_ms, Ordering::SeqCst);
        reports.retain(|report| report.config_epoch == epoch);
        if reports.iter().any(|report| report.is_failing_over) {
            return Ok(Vec::new());
        }
        Ok(reports.into_iter().map(|report| report.place).collect())
    }

    async fn ask(&self, sentinel: &Sentinel, deadline: Instant) -> Result<Report, StoreError> {
        let kept = || sentinel.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let open = kept().clone().filter(|connection| !connection.has_ended());
        let connection = match open {
            Some(connection) => connection,
            None => Connection::dial(&sentinel.target, None, deadline).await?,
        };
        *kept() = None;
        let pipeline = connection.pipeline();
        for question in ["MASTER", "GET-MASTER-ADDR-BY-NAME"] {
            let words = vec![question, self.service_name.as_str()];
            let queued = pipeline.custom::<(), _>(cmd!("SENTINEL"), words).await;
            queued.map_err(|error| connection.explain(&error))?;
        }
        let answers = timeout_at(deadline, connection.run(pipeline.all::<Vec<Value>>())).await;
        let silent = |_| StoreError::Unavailable(format!("{} does not answer", connection.address()));
        let answers = answers.map_err(silent)??;
        *kept() = Some(connection);
        let [about, place] =
            answers.try_into().map_err(|_| reply::unexpected("half an answer of a Sentinel"))?;
        Report::read(about, place)
    }

    /// How long the primary may be silent before another can have been promoted.
    pub(super) fn silence_ms_max(&self) -> u64 {
        let margin = u64::try_from(MARGIN.as_millis()).unwrap_or(u64::MAX);
        self.down_after_ms.load(Ordering::SeqCst).saturating_sub(margin)
    }

    /// Refuses those that replace a primary too soon: between two signs of its life there may be the pause
    /// between two looks, and a command that takes its time.
    ///
    /// # Errors
    /// [`StoreError::Misconfigured`], saying what to change.
    pub(super) fn require_patience(&self) -> Result<(), StoreError> {
        let down_after_ms = self.down_after_ms.load(Ordering::SeqCst);
        let needed_ms = (self.command_timeout + self.watchdog_interval + MARGIN).as_millis();
        if u128::from(down_after_ms) >= needed_ms {
            return Ok(());
        }
        let name = &self.service_name;
        Err(StoreError::Misconfigured(format!(
            "Sentinel replaces the primary {name} once it is silent for {down_after_ms} ms \
             (down-after-milliseconds), and store.redis.command_timeout_ms = {} with \
             store.redis.watchdog_interval_ms = {} needs at least {needed_ms} ms, or one that was frozen could \
             acknowledge what is lost; run `SENTINEL SET {name} down-after-milliseconds {needed_ms}` on each \
             Sentinel, or lower those settings",
            self.command_timeout.as_millis(),
            self.watchdog_interval.as_millis(),
        )))
    }
}

impl Report {
    fn read(about: Value, place: Value) -> Result<Self, StoreError> {
        let fields = reply::fields(about)?;
        let field = |name: &str| {
            let value = fields.get(name).and_then(|value| std::str::from_utf8(value).ok());
            value.ok_or_else(|| reply::unexpected("a Sentinel left a field out"))
        };
        let number = |name: &str| {
            field(name)?.parse::<u64>().map_err(|_| reply::unexpected("a Sentinel told no number"))
        };
        // `MASTER` names the old one until a failover is complete; this, the new one once it is promoted.
        let [host, port] = reply::pair(place)?;
        let (host, port) = (reply::text(host)?, reply::text(port)?);
        let is_replaced = field("ip")? != host || field("port")? != port;
        let flags = field("flags")?;
        Ok(Self {
            place: Place {
                port: port.parse().map_err(|_| reply::unexpected("a Sentinel told no port"))?,
                host,
            },
            config_epoch: number("config-epoch")?,
            down_after_ms: number("down-after-milliseconds")?,
            is_failing_over: !is_replaced
                && flags.split(',').any(|flag| matches!(flag, "o_down" | "failover_in_progress")),
        })
    }
}
