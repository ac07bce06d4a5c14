//! Sends commands to the shards of their partitions, and again where a cluster sends them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fred::types::{Value, config::Server};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::{Answer, Answered, Shards, nobody};
use crate::{
    StoreError,
    redis::{
        connection::{Command, Connection, Reply, trips},
        primary::{Access, Exchange, Primary},
        slots::Redirect,
    },
};

/// The pause before a command is sent again for the second time; it doubles with each further time.
const RESEND_DELAY_MIN: Duration = Duration::from_millis(2);
const RESEND_DELAY_MAX: Duration = Duration::from_millis(50);

/// How many commands one round trip has.
const COMMANDS_PER_TRIP: usize = 1_000;

/// A command on its way.
struct Part {
    /// Its place among the commands.
    place: usize,
    /// The node that it was sent to while its slot moves.
    receiver: Option<Server>,
    /// Whether it was sent elsewhere before, so that a new primary may be on its way.
    is_redirected: bool,
    /// Whether it writes, and may have been carried out.
    is_unknown: bool,
}

impl Part {
    /// The error to answer with.
    fn failure(&self, error: StoreError) -> StoreError {
        if self.is_unknown && !error.is_outcome_unknown() {
            return StoreError::OutcomeUnknown(error.to_string());
        }
        error
    }
}

/// What became of the commands of one round trip.
struct Trip {
    parts: Vec<Part>,
    primary: Arc<Primary>,
    asked_at: Duration,
    outcome: Result<(Arc<Connection>, Vec<Reply>), StoreError>,
}

impl Shards {
    /// Reads in one round trip to each shard. The first error counts.
    pub(in crate::redis) async fn read(&self, reads: Vec<(u32, Command)>) -> Result<Vec<Value>, StoreError> {
        if self.cluster.is_none() {
            let commands = reads.into_iter().map(|(_, command)| command).collect();
            let primary = self.only()?;
            let exchange = Exchange { access: Access::Read, commands, asking: false, wait_until: None };
            let (connection, replies) = primary.exchange(exchange).await?;
            let explained = replies.into_iter().map(|it| it.map_err(|error| connection.explain(&error)));
            return explained.collect();
        }
        let partitions: Vec<_> = reads.iter().map(|(partition, _)| *partition).collect();
        let answers = self.send(Access::Read, &partitions, &|place| Ok(reads[place].1.clone())).await;
        answers.into_iter().map(|answer| answer?.value()).collect()
    }

    /// Sends a command to each of these partitions, whose slots all of its keys are in, and returns what became of each.
    /// A command is made when it is sent, and again if it is sent again.
    pub(in crate::redis) async fn send(
        &self,
        access: Access,
        partitions: &[u32],
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
    ) -> Vec<Answer> {
        if self.cluster.is_none() {
            return self.send_to_only(access, partitions, make).await;
        }
        let give_up_at = Instant::now() + self.common.options.redirect_timeout;
        let mut answers: Vec<Option<Answer>> = partitions.iter().map(|_| None).collect();
        let first = |place| Part { place, receiver: None, is_redirected: false, is_unknown: false };
        let mut waiting: Vec<Part> = (0..partitions.len()).map(first).collect();
        let mut delay = Duration::ZERO;
        while !waiting.is_empty() {
            let (divided, mut redirected) = self.divide(waiting, partitions, &mut answers);
            let mut informer = None;
            let sent = divided
                .into_iter()
                .map(|(primary, parts)| self.exchange(access, primary, parts, make, give_up_at));
            for trip in join_all(sent).await {
                let Trip { parts, primary, asked_at, outcome } = trip;
                let (connection, replies) = match outcome {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        for part in parts {
                            answers[part.place] = Some(Err(part.failure(error.clone())));
                        }
                        continue;
                    }
                };
                for (mut part, reply) in parts.into_iter().zip(replies) {
                    let redirect = reply.as_ref().err().and_then(|error| connection.redirect(error));
                    let (primary, connection) = (Arc::clone(&primary), Arc::clone(&connection));
                    let Some(redirect) = redirect else {
                        let answered = Answered { primary, connection, asked_at, reply };
                        answers[part.place] = Some(if part.is_unknown && answered.reply.is_err() {
                            Err(part.failure(answered.failure()))
                        } else {
                            Ok(answered)
                        });
                        continue;
                    };
                    if matches!(redirect, Redirect::Moved(_) | Redirect::Down) {
                        informer = connection.target().server().cloned();
                    }
                    part.is_unknown |= redirect == Redirect::Down && access != Access::Read;
                    if Instant::now() >= give_up_at {
                        let late = Answered { primary, connection, asked_at, reply };
                        answers[part.place] = Some(Err(part.failure(late.failure())));
                        continue;
                    }
                    redirected.push(self.redirected(part, redirect));
                }
            }
            waiting = redirected;
            if !waiting.is_empty() {
                self.await_change(informer.as_ref(), delay.min(give_up_at - Instant::now())).await;
                delay = (delay * 2).clamp(RESEND_DELAY_MIN, RESEND_DELAY_MAX);
            }
        }
        // Each has left the loop with an answer.
        let missing = || Err(StoreError::OutcomeUnknown("a reply is missing".to_owned()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
    }

    async fn send_to_only(
        &self,
        access: Access,
        partitions: &[u32],
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
    ) -> Vec<Answer> {
        let asked_at = self.common.options.clock.steady();
        let sent = async {
            let primary = self.only()?;
            let commands = (0..partitions.len()).map(make).collect::<Result<_, _>>()?;
            let exchange = Exchange { access, commands, asking: false, wait_until: None };
            let (connection, replies) = primary.exchange(exchange).await?;
            Ok((primary, connection, replies))
        };
        match sent.await {
            Err(error) => partitions.iter().map(|_| Err(StoreError::clone(&error))).collect(),
            Ok((primary, connection, replies)) => {
                let answers = replies.into_iter().map(|reply| {
                    let (primary, connection) = (Arc::clone(&primary), Arc::clone(&connection));
                    Ok(Answered { primary, connection, asked_at, reply })
                });
                answers.collect()
            }
        }
    }

    /// Divides commands among primaries. Those whose slot nobody has are answered, if they have waited before.
    #[expect(clippy::type_complexity, reason = "only here")]
    fn divide(
        &self,
        parts: Vec<Part>,
        partitions: &[u32],
        answers: &mut [Option<Answer>],
    ) -> (Vec<(Arc<Primary>, Vec<Part>)>, Vec<Part>) {
        let owners = self.owners();
        let mut by_primary: BTreeMap<(usize, bool), (Arc<Primary>, Vec<Part>)> = BTreeMap::new();
        let mut homeless = Vec::new();
        for part in parts {
            let partition = partitions[part.place];
            let primary = match (&part.receiver, &self.cluster) {
                (Some(node), Some(cluster)) => Some(self.receiver(cluster, node)),
                (_, Some(_)) => owners.get(partition as usize).cloned().flatten(),
                (_, None) => owners.first().cloned().flatten(),
            };
            match primary {
                Some(primary) => {
                    let key = (Arc::as_ptr(&primary).addr(), part.receiver.is_some());
                    by_primary.entry(key).or_insert_with(|| (primary, Vec::new())).1.push(part);
                }
                None if part.is_redirected => {
                    answers[part.place] = Some(Err(part.failure(nobody(partition))));
                }
                None => homeless.push(Part { is_redirected: true, ..part }),
            }
        }
        let split = by_primary.into_values().flat_map(|(primary, parts)| {
            trips(parts, COMMANDS_PER_TRIP).map(move |parts| (Arc::clone(&primary), parts))
        });
        (split.collect(), homeless)
    }

    async fn exchange(
        &self,
        access: Access,
        primary: Arc<Primary>,
        parts: Vec<Part>,
        make: &(dyn Fn(usize) -> Result<Command, StoreError> + Sync),
        give_up_at: Instant,
    ) -> Trip {
        let asking = parts.iter().any(|part| part.receiver.is_some());
        let wait_until = parts.iter().any(|part| part.is_redirected).then_some(give_up_at);
        let asked_at = self.common.options.clock.steady();
        let commands: Result<Vec<_>, _> = parts.iter().map(|part| make(part.place)).collect();
        let outcome = match commands {
            Ok(commands) => primary.exchange(Exchange { access, commands, asking, wait_until }).await,
            Err(error) => Err(error),
        };
        Trip { parts, primary, asked_at, outcome }
    }

    fn redirected(&self, part: Part, redirect: Redirect) -> Part {
        if let Some(cluster) = &self.cluster {
            cluster.moves.fetch_add(1, Ordering::SeqCst);
        }
        let receiver = match redirect {
            Redirect::Ask(node) => Some(node),
            Redirect::Moved(_) | Redirect::TryAgain | Redirect::Down => None,
        };
        Part { receiver, is_redirected: true, ..part }
    }

    /// Waits a little, and asks the cluster for its map if a node has said that it is out of date.
    async fn await_change(&self, informer: Option<&Server>, delay: Duration) {
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if let (Some(cluster), Some(informer)) = (&self.cluster, informer)
            && let Err(error) = cluster.topology.refresh(Instant::now(), Some(informer)).await
        {
            tracing::debug!(%error, "the cluster does not say where its slots are");
        }
    }
}
