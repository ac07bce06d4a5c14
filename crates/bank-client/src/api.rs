//! A call for each method of the bank.

use bank_domain::Money;
use bank_proto::v1;
use futures::StreamExt as _;

use crate::{
    batch::Batch,
    call::Call,
    choice::{AccountType, Choice as _},
    client::BankClient,
    method::{
        AuditAccounts, CalculateInterest, CloseAccount, CreateAccount, Deposit, FreezeAccount, GetAccount,
        GetBalance, GetServerInfo, GetTransaction, ListAccounts, ListTransactions, SetOverdraftLimit,
        Transfer, UnfreezeAccount, WatchTransactions, Withdraw,
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
        Call::mutation(
            self.clone(),
            CreateAccount {
                account_id: account_id.into(),
                account_type: account_type.to_wire(),
                ..Default::default()
            },
        )
    }

    /// Reads an account.
    pub fn account(&self, account_id: impl Into<String>) -> Call<GetAccount> {
        Call::new(self.clone(), GetAccount { account_id: account_id.into() })
    }

    /// Lists accounts, each exactly once.
    pub fn accounts(&self) -> Call<ListAccounts> {
        Call::new(self.clone(), ListAccounts::default())
    }

    /// Reads the balance of an account, now or at a past time.
    pub fn balance(&self, account_id: impl Into<String>) -> Call<GetBalance> {
        Call::new(self.clone(), GetBalance { account_id: account_id.into(), as_of: None })
    }

    /// Pays money into an account, from outside the bank.
    pub fn deposit(&self, account_id: impl Into<String>, amount: Money) -> Call<Deposit> {
        Call::mutation(
            self.clone(),
            Deposit {
                account_id: account_id.into(),
                amount: Some(wire::money(amount)),
                ..Default::default()
            },
        )
    }

    /// Pays money out of an account, to outside the bank.
    pub fn withdraw(&self, account_id: impl Into<String>, amount: Money) -> Call<Withdraw> {
        Call::mutation(
            self.clone(),
            Withdraw {
                account_id: account_id.into(),
                amount: Some(wire::money(amount)),
                ..Default::default()
            },
        )
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
        Call::mutation(
            self.clone(),
            Transfer {
                account_id: route.from.into(),
                destination_account_id: route.to.into(),
                amount: Some(wire::money(amount)),
                ..Default::default()
            },
        )
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
        Call::mutation(
            self.clone(),
            CalculateInterest {
                account_id: account_id.into(),
                annual_interest_rate: annual_interest_rate.into(),
                ..Default::default()
            },
        )
    }

    /// Lists the entries of an account, the newest first unless set otherwise.
    pub fn history(&self, account_id: impl Into<String>) -> Call<ListTransactions> {
        Call::new(self.clone(), ListTransactions { account_id: account_id.into(), ..Default::default() })
    }

    /// Reads a movement with its entries, by the [`TransactionId`](crate::TransactionId) of one.
    pub fn transaction(&self, transaction_id: impl Into<String>) -> Call<GetTransaction> {
        Call::new(self.clone(), GetTransaction { transaction_id: transaction_id.into() })
    }

    /// Checks all accounts against their entries, the hash chain and each other, while the bank is in use. The call has no single reply: see [`Call::<AuditAccounts>::stream`].
    pub fn audit_accounts(&self) -> Call<AuditAccounts> {
        Call::new(self.clone(), AuditAccounts::default())
    }

    /// Sets how far below zero a checking account may go.
    pub fn set_overdraft_limit(
        &self,
        account_id: impl Into<String>,
        limit: Money,
    ) -> Call<SetOverdraftLimit> {
        Call::mutation(
            self.clone(),
            SetOverdraftLimit {
                account_id: account_id.into(),
                overdraft_limit: Some(wire::money(limit)),
                ..Default::default()
            },
        )
    }

    /// Blocks payments out of an account; it still takes money in.
    pub fn freeze_account(&self, account_id: impl Into<String>) -> Call<FreezeAccount> {
        Call::mutation(self.clone(), FreezeAccount { account_id: account_id.into(), ..Default::default() })
    }

    /// Makes a frozen account active again.
    pub fn unfreeze_account(&self, account_id: impl Into<String>) -> Call<UnfreezeAccount> {
        Call::mutation(self.clone(), UnfreezeAccount { account_id: account_id.into(), ..Default::default() })
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
        Call::new(self.clone(), GetServerInfo {})
    }

    /// Closes an account for good. Its balance must be zero; its history stays readable.
    pub fn close_account(&self, account_id: impl Into<String>) -> Call<CloseAccount> {
        Call::mutation(self.clone(), CloseAccount { account_id: account_id.into(), ..Default::default() })
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

    fn watching(&self, request: v1::WatchTransactionsRequest) -> Call<WatchTransactions> {
        Call::new(self.clone(), WatchTransactions { request, on_interruption: None })
    }
}

/// Operations with the options that all of them have. Use [`add`](Self::add) for one with others.
impl Batch {
    /// Adds a deposit.
    pub fn deposit(self, account_id: impl Into<String>, amount: Money) -> Self {
        let call = self.client().deposit(account_id, amount);
        self.add(call)
    }

    /// Adds a withdrawal.
    pub fn withdraw(self, account_id: impl Into<String>, amount: Money) -> Self {
        let call = self.client().withdraw(account_id, amount);
        self.add(call)
    }

    /// Adds a transfer.
    pub fn transfer(self, route: Route<impl Into<String>, impl Into<String>>, amount: Money) -> Self {
        let call = self.client().transfer(route, amount);
        self.add(call)
    }

    /// Adds a calculation of interest.
    pub fn calculate_interest(
        self,
        account_id: impl Into<String>,
        annual_interest_rate: impl Into<String>,
    ) -> Self {
        let call = self.client().calculate_interest(account_id, annual_interest_rate);
        self.add(call)
    }

    /// Adds the opening of an account. Use [`add`](Self::add) for one with options: an owner, labels, a currency.
    pub fn create_account(self, account_id: impl Into<String>, account_type: AccountType) -> Self {
        let call = self.client().create_account(account_id, account_type);
        self.add(call)
    }

    /// Adds a new overdraft limit of an account.
    pub fn set_overdraft_limit(self, account_id: impl Into<String>, limit: Money) -> Self {
        let call = self.client().set_overdraft_limit(account_id, limit);
        self.add(call)
    }

    /// Adds the freezing of an account.
    pub fn freeze_account(self, account_id: impl Into<String>) -> Self {
        let call = self.client().freeze_account(account_id);
        self.add(call)
    }

    /// Adds the unfreezing of an account.
    pub fn unfreeze_account(self, account_id: impl Into<String>) -> Self {
        let call = self.client().unfreeze_account(account_id);
        self.add(call)
    }

    /// Adds the closing of an account.
    pub fn close_account(self, account_id: impl Into<String>) -> Self {
        let call = self.client().close_account(account_id);
        self.add(call)
    }
}
