//! Dividing a list into batches of limited size (4.2, step 8).

/// Walks the items in order and fills batches whose sizes, each with `join` added, make at most `maximum`. Items that fit no batch
/// come second. Batches come out last first and reversed inside, as in the original; nobody reads a meaning into that.
pub fn split_list<T>(items: Vec<T>, maximum: usize, join: usize, size: impl Fn(&T) -> usize) -> (Vec<Vec<T>>, Vec<T>) {
    let (mut batches, mut too_big) = (Vec::new(), Vec::new());
    let (mut batch, mut total) = (Vec::new(), 0);
    for item in items {
        let needed = size(&item) + join;
        if needed > maximum {
            too_big.push(item);
            continue;
        }
        if total + needed > maximum {
            batches.push(std::mem::take(&mut batch));
            total = 0;
        }
        batch.push(item);
        total += needed;
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches.reverse();
    for batch in &mut batches {
        batch.reverse();
    }
    (batches, too_big)
}
