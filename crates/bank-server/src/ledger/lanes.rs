//! Divides the commands of a batch among lanes.

use std::collections::HashMap;

use bank_domain::{AccountId, Command};

/// The places of the commands for each lane, in order. Commands that share accounts, also through others, go to the lane
/// of the first of them, so the order of the batch holds on every account.
pub(super) fn divide(commands: &[&Command], lane: impl Fn(&Command) -> usize) -> Vec<(usize, Vec<usize>)> {
    // For each command an earlier one, or itself, of the same group; the first of a group is its root.
    let mut roots: Vec<usize> = (0..commands.len()).collect();
    let root = |roots: &[usize], mut place: usize| {
        while roots[place] != place {
            place = roots[place];
        }
        place
    };
    let mut last_on: HashMap<&AccountId, usize> = HashMap::new();
    for (place, command) in commands.iter().enumerate() {
        for id in command.account_ids() {
            if let Some(earlier) = last_on.insert(id, place) {
                let (one, other) = (root(&roots, earlier), root(&roots, place));
                roots[one.max(other)] = one.min(other);
            }
        }
    }
    let mut lanes: Vec<(usize, Vec<usize>)> = Vec::new();
    for place in 0..commands.len() {
        let lane = lane(commands[root(&roots, place)]);
        match lanes.iter_mut().find(|(other, _)| *other == lane) {
            Some((_, places)) => places.push(place),
            None => lanes.push((lane, vec![place])),
        }
    }
    lanes
}

#[cfg(test)]
mod tests;
