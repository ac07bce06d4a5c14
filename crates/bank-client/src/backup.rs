//! Exports and imports of whole banks.

use bank_proto::v1;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use crate::{
    Error,
    client::{BankClient, Target},
    method::Stub,
    news::{self, news},
    wire::from_wire,
};

/// The bytes of a file in one message: half of the default limit of a server.
const CHUNK_BYTES: usize = 32 * 1024;

news! {
    /// A message from an export.
    pub enum ExportNews from ExportBankResponse in export_bank_response, "export" {
        /// The next bytes of the file, cut anywhere.
        Data(Vec<u8>),
        /// The progress, at least once a second.
        Progress(ExportProgress),
        /// The end of the export, and the last message.
        Summary(ExportSummary),
    }

    /// A message from an import.
    pub enum ImportNews from ImportBankResponse in import_bank_response, "import" {
        /// The progress, at least once a second.
        Progress(ImportProgress),
        /// The end of the import, and the last message: the bank can be used.
        Summary(ImportSummary),
    }
}

from_wire! {
    /// The progress of an export.
    #[derive(Copy)]
    pub struct ExportProgress from ExportProgress {
        /// Accounts in the file so far.
        accounts: u64 = count(accounts),
        /// How many accounts there are, if that is known.
        accounts_total: Option<u64> = count_if_any(accounts_total),
        /// Entries in the file so far.
        entries: u64 = count(entries),
        /// Request records in the file so far.
        requests: u64 = count(requests),
    }

    /// The result of an export.
    #[derive(Copy)]
    pub struct ExportSummary from ExportSummary {
        /// Accounts in the file.
        accounts: u64 = count(accounts),
        /// Entries in the file.
        entries: u64 = count(entries),
        /// Request records in the file.
        requests: u64 = count(requests),
        /// Whether no account has changed from when it was read to when all had been: then the file is the
        /// bank as it was at one instant. Otherwise each account is as it was at some instant, and a transfer
        /// made meanwhile may be there with one side only.
        of_one_instant: bool = plain(of_one_instant),
    }

    /// The progress of an import.
    #[derive(Copy)]
    pub struct ImportProgress from ImportProgress {
        /// How much of the file the bank has read, in bytes.
        bytes: u64 = count(bytes),
        /// Accounts read so far.
        accounts: u64 = count(accounts),
        /// Entries read so far.
        entries: u64 = count(entries),
        /// Request records read so far.
        requests: u64 = count(requests),
    }

    /// The result of an import.
    #[derive(Copy)]
    pub struct ImportSummary from ImportSummary {
        /// Accounts in the file.
        accounts: u64 = count(accounts),
        /// Entries in the file.
        entries: u64 = count(entries),
        /// Request records in the file.
        requests: u64 = count(requests),
    }
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
    ///         ExportNews::Summary(summary) => println!("{} accounts", summary.accounts),
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
            client.send(v1::ExportBankRequest {}, Target::default(), send).await
        };
        news::stream(call, self.timeout())
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
            client.send_stream(messages, None, send).await
        };
        news::stream(call, self.timeout())
    }
}
