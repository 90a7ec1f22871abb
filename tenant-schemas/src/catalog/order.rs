//! In which order the parts of a schema are made: each behind what it depends on.

use std::collections::{BTreeSet, HashMap, HashSet};

/// An object of the catalog: the catalog's number, the object's number.
pub(super) type Key = (u32, u32);

/// One part, and when its turn is among those that are free to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) key: Key,
    pub(super) rank: usize,
}

/// The order of `nodes`, as positions, and how many of them come first because
/// `early` ones need them.
///
/// Among those that wait for nothing, the lower rank goes first, then the older
/// object. A circle, which the catalog should not have, is cut at its lowest.
pub(super) fn order(
    nodes: &[Node],
    edges: &[(Key, Key)],
    early: impl Fn(usize) -> bool,
) -> (Vec<usize>, usize) {
    let position: HashMap<Key, usize> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| (node.key, at))
        .collect();
    let mut needs: Vec<HashSet<usize>> = vec![HashSet::new(); nodes.len()];
    let mut needed: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (from, to) in edges {
        if let (Some(&from), Some(&to)) = (position.get(from), position.get(to))
            && from != to
            && needs[from].insert(to)
        {
            needed[to].push(from);
        }
    }
    let mut first = HashSet::new();
    let mut stack: Vec<usize> = (0..nodes.len())
        .filter(|at| early(nodes[*at].rank))
        .collect();
    while let Some(at) = stack.pop() {
        if first.insert(at) {
            stack.extend(&needs[at]);
        }
    }
    let turn = |at: usize| (!first.contains(&at), nodes[at].rank, nodes[at].key.1, at);
    let mut ready: BTreeSet<_> = BTreeSet::new();
    let mut waiting: BTreeSet<_> = BTreeSet::new();
    for (at, needs) in needs.iter().enumerate() {
        if needs.is_empty() {
            ready.insert(turn(at));
        } else {
            waiting.insert(turn(at));
        }
    }
    let mut ordered = Vec::with_capacity(nodes.len());
    while let Some(next) = ready.pop_first().or_else(|| waiting.pop_first()) {
        let at = next.3;
        ordered.push(at);
        for &other in &needed[at] {
            needs[other].remove(&at);
            if needs[other].is_empty() && waiting.remove(&turn(other)) {
                ready.insert(turn(other));
            }
        }
    }
    (ordered, first.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(object: u32, rank: usize) -> Node {
        Node {
            key: (1, object),
            rank,
        }
    }

    fn keys(nodes: &[Node], edges: &[(u32, u32)], early: usize) -> (Vec<u32>, usize) {
        let edges: Vec<(Key, Key)> = edges.iter().map(|(a, b)| ((1, *a), (1, *b))).collect();
        let (order, first) = order(nodes, &edges, |rank| rank <= early);
        (order.iter().map(|at| nodes[*at].key.1).collect(), first)
    }

    #[test]
    fn what_is_needed_goes_before_what_needs_it() {
        let nodes = [node(1, 5), node(2, 0), node(3, 5)];
        assert_eq!(keys(&nodes, &[], 9), (vec![2, 1, 3], 3));
        assert_eq!(keys(&nodes, &[(2, 3)], 9), (vec![1, 3, 2], 3));
        assert_eq!(keys(&nodes, &[(2, 3)], 0), (vec![3, 2, 1], 2));
    }

    #[test]
    fn a_circle_is_cut() {
        let nodes = [node(1, 1), node(2, 0)];
        assert_eq!(keys(&nodes, &[(1, 2), (2, 1)], 9), (vec![2, 1], 2));
    }
}
