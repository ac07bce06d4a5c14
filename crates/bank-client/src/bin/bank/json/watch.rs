//! News of a watch.

use bank_client as client;
use serde::Serialize;

use super::{Entry, Json};

impl Json for client::WatchNews {
    fn json(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct News<'a> {
            entries: Vec<Entry<'a>>,
            resume_token: &'a str,
        }
        News {
            entries: self.entries.iter().map(Entry::from).collect(),
            resume_token: self.resume_token.as_str(),
        }
    }
}
