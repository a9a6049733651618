"""Where the versions of a tree stand in its picture."""

from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.history import LineageNode
from modelyard.web.lineage import MOST, draw


def tree(parents: list[int | None]) -> list[LineageNode]:
    return [
        LineageNode(model="m", number=number, parent=parent, relation=None if parent is None else "derived")
        for number, parent in enumerate(parents, start=1)
    ]


def test_a_version_alone_is_a_picture_of_one() -> None:
    picture = draw(tree([None]), "m", 1)
    assert len(picture.boxes) == 1 and picture.lines == () and picture.boxes[0].here
    assert picture.height < 60


def test_children_stand_one_level_to_the_right_and_their_parent_beside_the_first() -> None:
    root, first, second = draw(tree([None, 0, 0]), "m", 1).boxes
    assert first.x == second.x > root.x
    assert root.y == first.y < second.y


@given(
    st.integers(1, 40).flatmap(
        lambda size: st.tuples(*(st.integers(0, max(0, i - 1)) for i in range(size)))
    )
)
def test_no_two_boxes_overlap_and_all_are_inside(parents: tuple[int, ...]) -> None:
    nodes = tree([None, *parents[1:]])
    picture = draw(nodes, "m", len(nodes))
    assert len(picture.boxes) == len(nodes) and len(picture.lines) == len(nodes) - 1
    for number, box in enumerate(picture.boxes):
        assert box.x >= 0 and box.x + picture.box_width <= picture.width
        assert box.y >= 0 and box.y + picture.box_height <= picture.height
        for other in picture.boxes[:number]:
            apart = abs(box.x - other.x) >= picture.box_width or abs(box.y - other.y) >= picture.box_height
            assert apart


def test_of_a_large_tree_the_nearest_are_shown_and_the_rest_is_counted() -> None:
    nodes = tree([None, *([0] * 500)])
    picture = draw(nodes, "m", 300)
    assert len(picture.boxes) == MOST and picture.left_out == 501 - MOST
    assert any(box.here for box in picture.boxes)


def test_a_line_of_a_thousand_is_cut_at_its_far_end() -> None:
    nodes = tree([None, *range(999)])
    picture = draw(nodes, "m", 1000)
    assert len(picture.boxes) == MOST
    assert picture.boxes[-1].here
