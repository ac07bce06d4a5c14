use super::*;

fn denial(kind: Kind, subject: &str) -> Event<'_> {
    Event {
        subject,
        peer: Some("10.0.0.1:1".parse().unwrap()),
        ..Event::new(kind, "Deposit", Code::PermissionDenied)
    }
}

/// What is written: whose, and how many each event stands for.
#[derive(Default)]
struct Written(Vec<(String, u64)>);

impl Written {
    fn add(&mut self, event: Event<'_>) {
        self.0.push((event.subject.to_owned(), event.times));
    }

    fn total(&self, subject: &str) -> u64 {
        self.0.iter().filter(|(of, _)| of == subject).map(|(_, times)| times).sum()
    }
}

#[test]
fn the_first_are_written_one_by_one_the_others_are_counted_and_none_is_lost() {
    let (denials, mut written) = (Denials::new(), Written::default());
    for _ in 0..5_000 {
        denials.count(denial(Kind::PermissionDenied, "alice"), |event| written.add(event));
    }
    assert!(written.0.len() < 500, "{}", written.0.len());
    assert!(written.0[..100].iter().all(|(_, times)| *times == 1), "{:?}", written.0);
    denials.count(denial(Kind::PermissionDenied, "bob"), |event| written.add(event));
    assert_eq!(written.0.last(), Some(&("bob".to_owned(), 1)), "nobody is hidden by somebody else");
    denials.count(denial(Kind::Concealed, "alice"), |event| written.add(event));
    assert_eq!(written.0.last(), Some(&("alice".to_owned(), 1)), "nor one kind by another");
    denials.flush(|event| written.add(event));
    assert_eq!(written.total("alice"), 5_001);
    let before = written.0.len();
    denials.flush(|event| written.add(event));
    assert_eq!(written.0.len(), before, "there is nothing left");
}

#[test]
fn who_is_forgotten_leaves_their_count() {
    let denials = Denials(Mutex::new(LruCache::new(NonZeroUsize::MIN)));
    let mut written = Written::default();
    for _ in 0..3 {
        denials.count(denial(Kind::RateLimited, "alice"), |event| written.add(event));
    }
    denials.count(denial(Kind::RateLimited, "bob"), |event| written.add(event));
    assert_eq!((written.total("alice"), written.total("bob")), (3, 1));
}

#[test]
fn strangers_are_told_apart_by_their_networks() {
    let (denials, mut written) = (Denials::new(), Vec::new());
    for peer in ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[2001:db8::1]:1", "[2001:db8::2]:1"] {
        let event = Event { peer: Some(peer.parse().unwrap()), ..denial(Kind::RateLimited, "") };
        denials.count(event, |event| written.push(event.peer.unwrap().to_string()));
    }
    assert_eq!(written, ["10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"]);
}
