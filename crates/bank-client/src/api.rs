//! A call for each method of the bank.

use bank_domain::Money;
use bank_proto::v1;
use futures::StreamExt as _;
use uuid::Uuid;

use crate::{
    batch::Batch,
    call::Call,
    choice::{AccountType, Choice as _},
    client::BankClient,
    method::{
        AuditAccounts, CalculateInterest, CloseAccount, CreateAccount, Deposit, FreezeAccount, GetAccount,
        GetBalance, GetServerInfo, GetTransaction, ListAccounts, ListTransactions, Mutation,
        SetOverdraftLimit, Transfer, UnfreezeAccount, WatchTransactions, Withdraw,
    },
    stream::Stream,
    wire,
};

/// The accounts of a transfer.
///
/// ```
/// use bank_client::Route;
///
/// let route = Route { from: "alice", to: "bob" };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<F, T> {
    /// The account that pays.
    pub from: F,
    /// The account that is paid.
    pub to: T,
}

impl BankClient {
    /// Starts a batch: many operations in one call, each with its own outcome.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// Sends batch after batch; the results come in the same order.
    pub fn stream(&self, batches: impl futures::Stream<Item = Batch> + Send + 'static) -> Stream {
        Stream::new(self.clone(), batches.boxed())
    }

    /// Opens an account with a balance of zero.
    pub fn create_account(
        &self,
        account_id: impl Into<String>,
        account_type: AccountType,
    ) -> Call<CreateAccount> {
        self.mutation(CreateAccount {
            account_id: account_id.into(),
            account_type: account_type.to_wire(),
            ..Default::default()
        })
    }

    /// Reads an account.
    pub fn account(&self, account_id: impl Into<String>) -> Call<GetAccount> {
        self.call_to(GetAccount { account_id: account_id.into() })
    }

    /// Lists accounts, each exactly once.
    pub fn accounts(&self) -> Call<ListAccounts> {
        self.call_to(ListAccounts::default())
    }

    /// Reads the balance of an account, now or at a past time.
    pub fn balance(&self, account_id: impl Into<String>) -> Call<GetBalance> {
        self.call_to(GetBalance { account_id: account_id.into(), as_of: None })
    }

    /// Pays money into an account, from outside the bank.
    pub fn deposit(&self, account_id: impl Into<String>, amount: Money) -> Call<Deposit> {
        self.mutation(Deposit {
            account_id: account_id.into(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        })
    }

    /// Pays money out of an account, to outside the bank.
    pub fn withdraw(&self, account_id: impl Into<String>, amount: Money) -> Call<Withdraw> {
        self.mutation(Withdraw {
            account_id: account_id.into(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        })
    }

    /// Moves money from one account to another. Both entries are written, or none.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{Currency, Money, Route};
    ///
    /// let amount = Money { currency: Currency::USD, minor_units: 2_500 };
    /// let receipt = client.transfer(Route { from: "alice", to: "bob" }, amount).await?;
    /// assert_eq!(receipt.entry.amount.to_string(), "-$25.00");
    /// # Ok(())
    /// # }
    /// ```
    pub fn transfer(
        &self,
        route: Route<impl Into<String>, impl Into<String>>,
        amount: Money,
    ) -> Call<Transfer> {
        self.mutation(Transfer {
            account_id: route.from.into(),
            destination_account_id: route.to.into(),
            amount: Some(wire::money(amount)),
            ..Default::default()
        })
    }

    /// Calculates interest on the balance of an account and books it. The rate is an exact decimal in
    /// percent a year: `"2.5"` is 2.5 %.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// use bank_client::{Compounding, DayCount};
    ///
    /// let preview = client
    ///     .calculate_interest("alice", "2.5")
    ///     .period("2026-01-01".."2026-04-01")
    ///     .day_count(DayCount::ActActIsda)
    ///     .compounding(Compounding::Monthly)
    ///     .validate_only()
    ///     .await?;
    /// println!("{} before rounding {}", preview.interest, preview.breakdown.exact_interest);
    /// # Ok(())
    /// # }
    /// ```
    pub fn calculate_interest(
        &self,
        account_id: impl Into<String>,
        annual_interest_rate: impl Into<String>,
    ) -> Call<CalculateInterest> {
        self.mutation(CalculateInterest {
            account_id: account_id.into(),
            annual_interest_rate: annual_interest_rate.into(),
            ..Default::default()
        })
    }

    /// Lists the entries of an account, the newest first unless set otherwise.
    pub fn history(&self, account_id: impl Into<String>) -> Call<ListTransactions> {
        self.call_to(ListTransactions { account_id: account_id.into(), ..Default::default() })
    }

    /// Reads a movement with its entries, by the [`TransactionId`](crate::TransactionId) of one.
    pub fn transaction(&self, transaction_id: impl Into<String>) -> Call<GetTransaction> {
        self.call_to(GetTransaction { transaction_id: transaction_id.into() })
    }

    /// Checks all accounts against their entries, the hash chain and each other, while the bank is in use. The call has no single reply: see [`Call::<AuditAccounts>::stream`].
    pub fn audit_accounts(&self) -> Call<AuditAccounts> {
        self.call_to(AuditAccounts::default())
    }

    /// Sets how far below zero a checking account may go.
    pub fn set_overdraft_limit(
        &self,
        account_id: impl Into<String>,
        limit: Money,
    ) -> Call<SetOverdraftLimit> {
        self.mutation(SetOverdraftLimit {
            account_id: account_id.into(),
            overdraft_limit: Some(wire::money(limit)),
            ..Default::default()
        })
    }

    /// Blocks payments out of an account; it still takes money in.
    pub fn freeze_account(&self, account_id: impl Into<String>) -> Call<FreezeAccount> {
        self.mutation(FreezeAccount { account_id: account_id.into(), ..Default::default() })
    }

    /// Makes a frozen account active again.
    pub fn unfreeze_account(&self, account_id: impl Into<String>) -> Call<UnfreezeAccount> {
        self.mutation(UnfreezeAccount { account_id: account_id.into(), ..Default::default() })
    }

    /// Reads the version, the store and the limits of the server.
    ///
    /// ```no_run
    /// # async fn example(client: bank_client::BankClient) -> Result<(), bank_client::Error> {
    /// let info = client.server_info().await?;
    /// println!("bank-server {}: {}", info.version, info.store.durability.description);
    /// # Ok(())
    /// # }
    /// ```
    pub fn server_info(&self) -> Call<GetServerInfo> {
        self.call_to(GetServerInfo {})
    }

    /// Closes an account for good. Its balance must be zero; its history stays readable.
    pub fn close_account(&self, account_id: impl Into<String>) -> Call<CloseAccount> {
        self.mutation(CloseAccount { account_id: account_id.into(), ..Default::default() })
    }

    /// Streams the entries of an account as they are written, from now on unless set otherwise. The call has no
    /// single reply: see [`Call::<WatchTransactions>::stream`].
    pub fn watch(&self, account_id: impl Into<String>) -> Call<WatchTransactions> {
        self.watching(v1::WatchTransactionsRequest { account_id: account_id.into(), ..Default::default() })
    }

    /// Watches every account that the caller may see, including accounts that are opened later. The bank limits
    /// their number. See [`watch`](Self::watch).
    pub fn watch_all(&self) -> Call<WatchTransactions> {
        self.watching(v1::WatchTransactionsRequest::default())
    }

    fn call_to<M>(&self, method: M) -> Call<M> {
        Call::new(self.clone(), method)
    }

    /// A call that changes something, with a request id of its own.
    fn mutation<M: Mutation>(&self, mut method: M) -> Call<M> {
        *method.request_id_mut() = Uuid::now_v7().to_string();
        self.call_to(method)
    }

    fn watching(&self, request: v1::WatchTransactionsRequest) -> Call<WatchTransactions> {
        self.call_to(WatchTransactions { request, on_interruption: None })
    }
}
