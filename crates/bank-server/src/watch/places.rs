//! How many watches there may be, in all and of one caller.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::WatchOptions;

/// The places of watches, by who has them.
pub(crate) struct Places<Caller> {
    in_all_max: usize,
    of_one_max: usize,
    taken: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// A place that is free again once this is dropped.
pub(crate) struct Place<Caller: Hash + Eq> {
    caller: Caller,
    taken: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// There is no place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    InAll { watches_max: usize },
    OfCaller { watches_max: usize },
}

impl<Caller: Hash + Eq + Clone> Places<Caller> {
    pub(crate) fn new(options: &WatchOptions) -> Self {
        Self {
            in_all_max: options.concurrent_max,
            of_one_max: options.concurrent_per_caller_max,
            taken: Arc::default(),
        }
    }

    pub(crate) fn take(&self, caller: Caller) -> Result<Place<Caller>, Full> {
        let mut taken = lock(&self.taken);
        if taken.get(&caller).is_some_and(|count| *count >= self.of_one_max) {
            return Err(Full::OfCaller { watches_max: self.of_one_max });
        }
        // Callers without a watch are not in it, so there are no more of them than watches.
        if taken.values().sum::<usize>() >= self.in_all_max {
            return Err(Full::InAll { watches_max: self.in_all_max });
        }
        *taken.entry(caller.clone()).or_default() += 1;
        Ok(Place { caller, taken: Arc::clone(&self.taken) })
    }
}

impl<Caller: Hash + Eq> Drop for Place<Caller> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

fn lock<Caller>(taken: &Mutex<HashMap<Caller, usize>>) -> MutexGuard<'_, HashMap<Caller, usize>> {
    // Nothing panics while it is held.
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_in_all_and_for_each_and_free_again_when_they_are_left() {
        let places = Places { in_all_max: 3, of_one_max: 2, taken: Arc::default() };
        let _first = places.take("a").unwrap();
        let second = places.take("a").unwrap();
        assert_eq!(places.take("a").err(), Some(Full::OfCaller { watches_max: 2 }));
        let _third = places.take("b").unwrap();
        assert_eq!(places.take("b").err(), Some(Full::InAll { watches_max: 3 }));
        drop(second);
        let fourth = places.take("c").unwrap();
        drop(fourth);
        assert_eq!(lock(&places.taken).len(), 2, "who has none is forgotten");
    }
}
