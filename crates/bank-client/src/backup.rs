//! Exports and imports of whole banks.

use bank_proto::v1::{self, export_bank_response, import_bank_response};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use crate::{
    Error,
    client::BankClient,
    method::Stub,
    news::{self, summarized},
    wire::{FromWire, Malformed, count, count_if_any},
};

/// The bytes of a file in one message: half of the default limit of a server.
const CHUNK_BYTES: usize = 32 * 1024;

/// A message from an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportNews {
    /// The next bytes of the file, cut anywhere.
    Data(Vec<u8>),
    /// The progress, at least once a second.
    Progress(ExportProgress),
    /// The end of the export, and the last message.
    Summary(ExportSummary),
}

/// The progress of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// What is in the file so far.
    pub counts: BackupCounts,
    /// How many accounts there are, if that is known.
    pub accounts_total: Option<u64>,
}

/// The result of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// What is in the file.
    pub counts: BackupCounts,
    /// Whether no account has changed from when it was read to when all had been: then the file is the
    /// bank as it was at one instant. Otherwise each account is as it was at some instant, and a transfer
    /// made meanwhile may be there with one side only.
    pub of_one_instant: bool,
}

/// A message from an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportNews {
    /// The progress, at least once a second.
    Progress(ImportProgress),
    /// The end of the import, and the last message: the bank can be used.
    Summary(BackupCounts),
}

/// The progress of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// How much of the file the bank has read, in bytes.
    pub bytes: u64,
    /// What was in it so far.
    pub counts: BackupCounts,
}

/// The content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupCounts {
    /// Accounts.
    pub accounts: u64,
    /// Entries.
    pub entries: u64,
    /// Records of requests.
    pub requests: u64,
}

/// Whole banks.
impl BankClient {
    /// Exports the bank: the file in pieces, then a summary. The export begins when the stream is polled, is as
    /// fast as the stream is read, and ends when the stream is dropped. It is not retried; the stream ends at the
    /// first error. The client's timeout bounds the time between two messages.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::Write as _;
    ///
    /// use bank_client::{ExportNews, TryStreamExt};
    ///
    /// let mut file = std::fs::File::create("bank.jsonl")?;
    /// let mut news = client.export_bank();
    /// while let Some(news) = news.try_next().await? {
    ///     match news {
    ///         ExportNews::Data(data) => file.write_all(&data)?,
    ///         ExportNews::Summary(summary) => println!("{} accounts", summary.counts.accounts),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn export_bank(&self) -> BoxStream<'static, Result<ExportNews, Error>> {
        let client = self.clone();
        let call = async move {
            let send = |mut stub: Stub, request| async move { stub.export_bank(request).await };
            client.send(v1::ExportBankRequest {}, None, None, send).await
        };
        news::news(call, self.timeout())
    }

    /// Fills an empty bank from a file, in pieces of any size. The import begins when the stream is polled; the
    /// last message is a summary. Until then the bank serves no other calls. If the file is damaged
    /// ([`Error::BackupDamaged`]) the bank is empty again. If the import is interrupted, the bank serves no other
    /// calls until a file is imported.
    pub fn import_bank(
        &self,
        file: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> BoxStream<'static, Result<ImportNews, Error>> {
        let client = self.clone();
        let messages = file.flat_map(|piece| {
            let chunks: Vec<_> = piece.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
            stream::iter(chunks.into_iter().map(|data| v1::ImportBankRequest { data }))
        });
        let call = async move {
            let send = |mut stub: Stub, request| async move { stub.import_bank(request).await };
            client.send_stream(messages, send).await
        };
        news::news(call, self.timeout())
    }
}

summarized! {
    ExportNews of ExportBankResponse: "export";
    ImportNews of ImportBankResponse: "import";
}

impl FromWire<v1::ExportBankResponse> for ExportNews {
    fn from_wire(wire: v1::ExportBankResponse) -> Result<Self, Malformed> {
        use export_bank_response::News;
        Ok(match wire.news {
            Some(News::Data(data)) => Self::Data(data),
            Some(News::Progress(wire)) => Self::Progress(ExportProgress {
                counts: counts(wire.accounts, wire.entries, wire.requests)?,
                accounts_total: count_if_any("accounts_total", wire.accounts_total)?,
            }),
            Some(News::Summary(wire)) => Self::Summary(ExportSummary {
                counts: counts(wire.accounts, wire.entries, wire.requests)?,
                of_one_instant: wire.of_one_instant,
            }),
            None => return Err(Malformed("news is missing".to_owned())),
        })
    }
}

impl FromWire<v1::ImportBankResponse> for ImportNews {
    fn from_wire(wire: v1::ImportBankResponse) -> Result<Self, Malformed> {
        use import_bank_response::News;
        Ok(match wire.news {
            Some(News::Progress(wire)) => Self::Progress(ImportProgress {
                bytes: count("bytes", wire.bytes)?,
                counts: counts(wire.accounts, wire.entries, wire.requests)?,
            }),
            Some(News::Summary(wire)) => Self::Summary(counts(wire.accounts, wire.entries, wire.requests)?),
            None => return Err(Malformed("news is missing".to_owned())),
        })
    }
}

fn counts(accounts: i64, entries: i64, requests: i64) -> Result<BackupCounts, Malformed> {
    Ok(BackupCounts {
        accounts: count("accounts", accounts)?,
        entries: count("entries", entries)?,
        requests: count("requests", requests)?,
    })
}
