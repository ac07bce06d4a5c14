use std::collections::HashMap;

use tonic::transport::Endpoint;

use super::*;

fn servers(urls: impl IntoIterator<Item = String>) -> Servers {
    let server = |url: String| {
        let channel = Endpoint::from_shared(url.clone()).unwrap().connect_lazy();
        Server::new(url, vec![channel])
    };
    Servers::new(urls.into_iter().map(server).collect())
}

fn numbered(count: usize) -> Servers {
    servers((0..count).map(|number| format!("http://bank-{number}.test:50051")))
}

fn choices(servers: &Servers, routes: usize) -> Vec<String> {
    (0..routes).map(|route| servers.choose(Some(&format!("customer-{route}"))).url().to_owned()).collect()
}

#[test]
fn the_route_is_the_id_up_to_the_first_colon() {
    assert_eq!(route("alice"), Some("alice"));
    assert_eq!(route("alice:savings:2"), Some("alice"));
    assert_eq!(route(""), None);
    assert_eq!(route(":savings"), None);
}

#[tokio::test]
async fn every_client_makes_the_same_choice_in_whatever_order_it_names_the_servers() {
    let urls = ["http://a.test:50051", "http://b.test:50051", "http://c.test:50051"].map(str::to_owned);
    let forwards = choices(&servers(urls.clone()), 1_000);
    assert_eq!(forwards, choices(&servers(urls.into_iter().rev()), 1_000));
    // Clients of all versions and languages agree on the hash; these are from another implementation.
    let known = ["http://b.test:50051", "http://c.test:50051", "http://c.test:50051", "http://b.test:50051"];
    assert_eq!(forwards[..4], known);
}

#[tokio::test]
async fn routes_are_spread_evenly_and_an_added_server_moves_only_those_that_it_takes() {
    for count in 1..8 {
        let before = choices(&numbered(count), 10_000);
        let after = choices(&numbered(count + 1), 10_000);
        let added = format!("http://bank-{count}.test:50051");
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let mut moves = 0;
        for (_, after) in moved {
            assert_eq!(*after, added, "a route moved between servers that were there before");
            moves += 1;
        }
        let fair = 10_000 / (count + 1);
        assert!((fair * 9 / 10..fair * 11 / 10).contains(&moves), "{moves} of 10000 moved, {fair} are fair");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_server_is_avoided_by_all_but_one_call_until_it_answers() {
    let servers = numbered(2);
    let preferred = servers.choose(Some("alice")).url().to_owned();
    let server = || servers.choose(Some("alice"));
    let lost = || Err::<(), _>(Error::ConnectionLost("lost".to_owned()));
    server().attempt(None).ended(lost()).unwrap_err();
    assert!(servers.has_other());
    assert_ne!(server().url(), preferred, "it is avoided at once");
    // What does not concern the server itself changes nothing.
    server().attempt(None).ended(Err::<(), _>(Error::RequestTooLarge("large".to_owned()))).unwrap_err();

    tokio::time::sleep(AVOIDED_MAX).await;
    assert_eq!(server().url(), preferred, "one call tries it again");
    assert_ne!(server().url(), preferred, "and the next one does not wait for that");
    let tried = servers.all().iter().find(|server| server.url() == preferred).unwrap();
    tried.attempt(None).ended(Ok(())).unwrap();
    assert_eq!(server().url(), preferred, "it has answered");

    for server in servers.all() {
        server.avoid();
    }
    assert!(!servers.has_other());
    assert_eq!(server().url(), preferred, "if all are avoided, the order decides");
}

#[tokio::test]
async fn calls_without_a_route_take_turns() {
    let servers = numbered(4);
    let mut counts = HashMap::new();
    for _ in 0..400 {
        *counts.entry(servers.choose(None).url().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [100; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lets_a_deadline_pass_is_avoided_and_a_caller_who_leaves_changes_nothing() {
    let servers = numbered(2);
    let server = servers.choose(Some("alice"));
    drop(server.attempt(Some(Duration::from_secs(1))));
    assert_eq!(servers.choose(Some("alice")).url(), server.url());

    let attempt = server.attempt(Some(Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(attempt);
    assert_ne!(servers.choose(Some("alice")).url(), server.url());
}
