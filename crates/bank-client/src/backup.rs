//! A bank as a file, and a file as a bank.

use bank_proto::v1::{self, export_bank_response, import_bank_response};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use crate::{
    BankClient, Error,
    method::Stub,
    news::{self, News},
    wire::{FromWire, Malformed, count, count_if_any},
};

/// How much of a file is sent at a time: half of what a server takes as one message, unless told otherwise.
const CHUNK_BYTES: usize = 32 * 1024;

/// A piece of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportNews {
    /// The next bytes of the file, cut anywhere.
    Data(Vec<u8>),
    /// How far it is; comes at least once a second.
    Progress(ExportProgress),
    /// It is done. Nothing comes after this.
    Summary(ExportSummary),
}

/// How far an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportProgress {
    /// What is in the file so far.
    pub counts: BackupCounts,
    /// How many accounts there are, if that is known.
    pub accounts_total: Option<u64>,
}

/// What an export came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSummary {
    /// What is in the file.
    pub counts: BackupCounts,
    /// Whether no account has changed from when it was read to when all had been: then the file is the
    /// bank as it was at one instant. Otherwise each account is as it was at some instant, and a transfer
    /// made meanwhile may be there with one side only.
    pub of_one_instant: bool,
}

/// A piece of news of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImportNews {
    /// How far it is; comes at least once a second.
    Progress(ImportProgress),
    /// It is done: the bank can be used. Nothing comes after this.
    Summary(BackupCounts),
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportProgress {
    /// How much of the file the bank has read, in bytes.
    pub bytes: u64,
    /// What was in it so far.
    pub counts: BackupCounts,
}

/// What is in a file.
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
    /// Exports the bank once it is polled: its file piece by piece, and a summary as the last of the
    /// news. A stream that is read slowly slows the export down, and one that is dropped ends it. It is
    /// not repeated by itself; the stream ends at the first error. The client's timeout is how long
    /// the bank may say nothing.
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
            client.replies(v1::ExportBankRequest {}, send).await
        };
        news::news(call, self.timeout())
    }

    /// Fills an empty bank from a file, which may come in pieces of any size. It begins once it is
    /// polled; the last of the news is a summary. From the beginning on the bank serves nobody else.
    /// Where the file is refused ([`Error::BackupDamaged`]) it is empty again; where the import is broken
    /// off it goes on serving nobody, until a file is imported.
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
            client.replies_to_stream(messages, send).await
        };
        news::news(call, self.timeout())
    }
}

impl News<v1::ExportBankResponse> for ExportNews {
    const WHAT: &str = "export";

    fn is_last(&self) -> bool {
        matches!(self, Self::Summary(_))
    }
}

impl News<v1::ImportBankResponse> for ImportNews {
    const WHAT: &str = "import";

    fn is_last(&self) -> bool {
        matches!(self, Self::Summary(_))
    }
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
