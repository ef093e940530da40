"""Sharing out a budget, on spectra small enough to do by hand."""

from attending.attention.conversion.groups import find_groups
from attending.attention.conversion.ranks import falling, share_out


def test_each_number_goes_where_it_saves_most() -> None:
    spectra = [[8.0, 4.0, 1.0], [5.0, 3.0, 2.0]]
    assert share_out(spectra, 2) == (1, 1)
    assert share_out(spectra, 3) == (2, 1)  # 8, 5, then 4
    assert share_out(spectra, 4) == (2, 2)  # then 3
    assert share_out(spectra, 5) == (2, 3)  # then 2
    assert share_out(spectra, 9) == (3, 3)  # and no more than there are


def test_a_layer_that_remembers_more_tokens_pays_more_for_a_number() -> None:
    spectra = [[8.0, 4.0, 1.0], [8.0, 4.0, 1.0]]
    # 2 + 1 are spent; then 4 for 1 is better than 4 for 2, and 1 for 1 than 4 for 2 is not.
    assert share_out(spectra, 4, costs=(2.0, 1.0)) == (1, 2)
    assert share_out(spectra, 6, costs=(2.0, 1.0)) == (2, 2)
    assert share_out(spectra, 5, costs=(2.0, 1.0)) == (1, 3)  # 2 would not fit any more, 1 does


def test_each_layer_gets_something() -> None:
    assert share_out([[100.0, 90.0], [0.1, 0.1]], 2) == (1, 1)


def test_a_step_that_opens_the_way_counts_as_half_of_what_follows() -> None:
    assert falling([10.0, 4.0, 3.0, 3.0]) == [6.0, 1.0, 0.0]
    assert falling([10.0, 10.0, 4.0, 3.0]) == [3.0, 3.0, 1.0]


def test_heads_that_go_together_are_found_wherever_they_lie() -> None:
    kinds = (0, 1, 2, 1, 0, 2)
    assert find_groups(6, 3, lambda group: float(len({kinds[head] for head in group}) - 1)) == ((0, 4), (1, 3), (2, 5))
    assert find_groups(4, 4, lambda group: 0.0) == ((0,), (1,), (2,), (3,))
    assert find_groups(4, 1, lambda group: 1.0) == ((0, 1, 2, 3),)
