//! Reads, several in one round trip, and only of the right bank on a primary.

use std::future::Future;

use fred::{
    clients::{Client, Pipeline},
    cmd,
    error::Error as FredError,
    interfaces::{ClientLike as _, HashesInterface as _},
    types::Value,
};

use super::{connection::Connection, guard::Guard, keys::Keys, reply};
use crate::StoreError;

/// A pipeline of reads. Its first answers say whether they were made on a primary, and in which
/// bank: after a failover a connection may still lead to what was one, and after a mishap to nothing.
pub(super) struct Reading<'a> {
    guard: &'a Guard,
    connection: Connection,
    pipeline: Pipeline<Client>,
}

impl<'a> Reading<'a> {
    pub(super) async fn begin(
        guard: &'a Guard,
        keys: &Keys,
        connection: Connection,
    ) -> Result<Self, StoreError> {
        let reading = Self { guard, pipeline: connection.pipeline(), connection };
        reading.ask(reading.pipeline.custom(cmd!("ROLE"), Vec::<Value>::new())).await?;
        reading.ask(reading.pipeline.hget(keys.meta(), "bank_id")).await?;
        Ok(reading)
    }

    pub(super) fn pipeline(&self) -> &Pipeline<Client> {
        &self.pipeline
    }

    /// Adds a command of the pipeline, which is not sent yet.
    pub(super) async fn ask(
        &self,
        command: impl Future<Output = Result<(), FredError>>,
    ) -> Result<(), StoreError> {
        command.await.map_err(|error| self.connection.explain(&error))
    }

    /// Sends all, and returns the answers to what was asked.
    pub(super) async fn answers(self) -> Result<Vec<Value>, StoreError> {
        let answers: Vec<Value> = self.connection.run(self.pipeline.all()).await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().ok_or_else(|| reply::unexpected("redis answered nothing"));
        let (role, bank_id) = (next()?, next()?);
        let role = reply::list(role)?.into_iter().next();
        if role.as_ref().and_then(Value::as_str).as_deref() != Some("master") {
            self.connection.close("this redis is no primary any more");
            let address = self.connection.address();
            return Err(StoreError::Unavailable(format!("redis at {address} is no primary any more")));
        }
        let bank_id = bank_id.into_string().unwrap_or_default();
        if bank_id != self.guard.bank_id() {
            return Err(self.guard.other_bank(&bank_id));
        }
        Ok(answers.collect())
    }
}
