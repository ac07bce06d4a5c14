//! What callers take a bounded part of for as long as they hold it: so much in all, and so much each.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places that there are, by who has them.
pub(crate) struct Places<Caller> {
    in_all_max: usize,
    of_one_max: usize,
    taken: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// Places that are free again once this is dropped.
pub(crate) struct Place<Caller: Hash + Eq> {
    caller: Caller,
    count: usize,
    taken: Arc<Mutex<HashMap<Caller, usize>>>,
}

/// There are not so many places left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    InAll { max: usize },
    OfCaller { max: usize },
}

impl<Caller: Hash + Eq + Clone> Places<Caller> {
    pub(crate) fn new(in_all_max: usize, of_one_max: usize) -> Self {
        Self { in_all_max, of_one_max, taken: Arc::default() }
    }

    pub(crate) fn take(&self, caller: Caller, count: usize) -> Result<Place<Caller>, Full> {
        let mut taken = lock(&self.taken);
        let own = taken.get(&caller).copied().unwrap_or_default();
        if count > self.of_one_max.saturating_sub(own) {
            return Err(Full::OfCaller { max: self.of_one_max });
        }
        // Callers without a place are not in it, so there are no more of them than places.
        let in_all: usize = taken.values().sum();
        if count > self.in_all_max.saturating_sub(in_all) {
            return Err(Full::InAll { max: self.in_all_max });
        }
        *taken.entry(caller.clone()).or_default() += count;
        Ok(Place { caller, count, taken: Arc::clone(&self.taken) })
    }
}

impl<Caller: Hash + Eq> Drop for Place<Caller> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(count) = taken.get_mut(&self.caller) {
            *count -= self.count;
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
        let places = Places::new(3, 2);
        let _first = places.take("a", 1).unwrap();
        let second = places.take("a", 1).unwrap();
        assert_eq!(places.take("a", 1).err(), Some(Full::OfCaller { max: 2 }));
        assert_eq!(places.take("b", 2).err(), Some(Full::InAll { max: 3 }));
        let _third = places.take("b", 1).unwrap();
        assert_eq!(places.take("c", 1).err(), Some(Full::InAll { max: 3 }));
        drop(second);
        let fourth = places.take("c", 1).unwrap();
        drop(fourth);
        assert_eq!(lock(&places.taken).len(), 2, "who has none is forgotten");
    }
}
