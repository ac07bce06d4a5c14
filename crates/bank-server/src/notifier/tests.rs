use super::*;

#[test]
fn a_subscription_collects_changed_accounts_up_to_a_bound() {
    let mailbox = Mailbox::default();
    let id = |number: usize| format!("a{number}").parse::<AccountId>().unwrap();
    for number in (0..ACCOUNTS_MAX).chain([0, 0]) {
        mailbox.add(&id(number));
    }
    let Changed::Accounts(accounts) = mem::take(&mut *mailbox.changed()) else {
        panic!("it was within the bound")
    };
    assert_eq!(accounts.len(), ACCOUNTS_MAX);
    for number in 0..10 * ACCOUNTS_MAX {
        mailbox.add(&id(number));
    }
    assert_eq!(mem::take(&mut *mailbox.changed()), Changed::TooMany);
    assert_eq!(*mailbox.changed(), Changed::default());
}

#[test]
fn dropping_a_subscription_ends_it() {
    let notifier = Notifier::new(Arc::new(Metrics::new().unwrap()));
    let selection = Selection::Account("a".parse().unwrap());
    let first = notifier.subscribe(selection.clone());
    let second = notifier.subscribe(selection);
    drop(first);
    assert_eq!(notifier.mailboxes().values().map(Vec::len).sum::<usize>(), 1);
    drop(second);
    assert!(notifier.mailboxes().is_empty());
    assert_eq!(notifier.shared.count.load(Ordering::Acquire), 0);
}
