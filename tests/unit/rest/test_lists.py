"""Long lists with few requests."""

import json
import re

import pytest

from airflow_provider_b24.exceptions import Bitrix24Error, OperationTimeLimitError, TransportError
from airflow_provider_b24.rest import Call, MethodFacts
from airflow_provider_b24.rest.encoding import parse_form
from airflow_provider_b24.rest.lists import converse_list
from airflow_provider_b24.rest.wire import NoResponse, TransportFailure

REFERENCE = re.compile(r"\$result\[(\w+)\]((?:\[\w+\])*)$")


class ListPortal:
    """A portal with one list, which counts the pages it reads."""

    def __init__(self, answer, ids, wrapper=None, id_name="ID", page=50, orders=True):
        self.answer, self.wrapper, self.id_name, self.page, self.orders = (
            answer,
            wrapper,
            id_name,
            page,
            orders,
        )
        self.rows = [{id_name: str(number), "TITLE": f"t{number}"} for number in ids]
        self.requests, self.pages = 0, 0
        self.asked = []
        self.troubles = []
        self.errors = []
        self.too_many = 51
        self.sizes = []

    def __call__(self, request):
        self.requests += 1
        if self.troubles:
            trouble = self.troubles.pop(0)
            if trouble is not None:
                return trouble
        method, body = request.url.rpartition("/")[2], json.loads(request.body)
        self.sizes.append(len(body["cmd"]) if method == "batch" else 1)
        if method != "batch":
            page = self.list(body)
            return self.answer(page, 400 if "error" in page else 200)
        if len(body["cmd"]) >= self.too_many:
            return NoResponse(TransportFailure.TIMEOUT, "ReadTimeout")
        parts = {name: {} for name in ("result", "result_error", "result_total", "result_next")}
        for key, command in body["cmd"].items():
            params = parse_form(command.partition("?")[2].encode())
            error = self.errors.pop(0) if self.errors else None
            if error:
                parts["result_error"][key] = {"error": error, "error_description": ""}
                break
            one = self.list(self.resolve(params, parts["result"]))
            if "error" in one:
                parts["result_error"][key] = one
                break
            parts["result"][key] = one["result"]
            for name in ("total", "next"):
                if name in one:
                    parts[f"result_{name}"][key] = one[name]
        return self.answer({"result": {name: part or [] for name, part in parts.items()}})

    def resolve(self, value, results):
        if isinstance(value, dict):
            return {key: self.resolve(item, results) for key, item in value.items()}
        match = REFERENCE.match(value) if isinstance(value, str) else None
        if not match:
            return value
        found = results.get(match[1], "")
        for key in re.findall(r"\[(\w+)\]", match[2]):
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (IndexError, KeyError):
                return ""
        return found

    def list(self, params):
        self.pages += 1
        self.asked.append(params)
        start = int(params.get("start") or 0)
        rows = self.rows
        if self.orders:
            filters = params.get("filter") or {}
            after = next((value for key, value in filters.items() if key.startswith(">")), "") or 0
            rows = [row for row in rows if int(row[self.id_name]) > int(after)]
            if "DESC" in (params.get("order") or {}).values():
                rows = rows[::-1]
        answer = {}
        if start >= 0:
            answer["total"] = len(rows)
            if start + self.page < len(rows):
                answer["next"] = start + self.page
        page = rows[max(0, start) : max(0, start) + self.page]
        return {**answer, "result": {self.wrapper: page} if self.wrapper else page}


@pytest.fixture
def read(answer, drive, open_session):
    """Reads a list to its end; keeps the driver and the portal at hand."""

    def run(portal, method="crm.lead.list", params=None, deadline=None, **options):
        driver = drive(portal)
        run.driver = driver
        settings = {name: options.pop(name) for name in ("batch_size", "methods") if name in options}
        session = open_session(**settings)
        driver.hold(converse_list(Call(method, params or {}), session, deadline=deadline, **options))
        return [int(row[portal.id_name]) for row in driver.records]

    return run


@pytest.mark.parametrize(
    ("count", "requests"),
    [
        (0, 1),
        (1, 1),
        (49, 1),
        (50, 1),
        (51, 1),
        (100, 1),
        (101, 2),
        (2600, 2),
        (2601, 3),
        (5100, 3),
        (5101, 4),
    ],
)
def test_each_record_comes_once_in_order_with_few_requests(read, answer, count, requests):
    portal = ListPortal(answer, range(1, count + 1))

    assert read(portal) == list(range(1, count + 1))
    assert portal.requests == requests


def test_a_hundred_thousand_records_take_41_requests(read, answer):
    portal = ListPortal(answer, range(1, 100_001))
    portal.list = fast_list(portal)

    assert read(portal) == list(range(1, 100_001))
    assert portal.requests == 41


def fast_list(portal):
    def page(params):
        after = int(next(iter(params["filter"].values())) or 0)
        if "DESC" in params["order"].values():
            return {"result": portal.rows[-50:][::-1]}
        return {"result": portal.rows[after : after + 50]}

    return page


def test_no_page_is_read_in_vain_when_ids_have_no_gaps(read, answer):
    portal = ListPortal(answer, range(1, 731))

    read(portal)

    assert portal.pages == 15


@pytest.mark.parametrize(
    "ids", [range(10, 9000, 7), [*range(1, 200), *range(100_000, 100_400)], [5, 900_000_000]]
)
def test_gaps_between_ids_do_no_harm(read, answer, ids):
    assert read(ListPortal(answer, ids)) == list(ids)


@pytest.mark.parametrize(
    ("method", "wrapper", "id_name", "filter_id"),
    [
        ("crm.item.list", "items", "id", "id"),
        ("tasks.task.list", "tasks", "id", "ID"),
        ("crm.deal.list", None, "ID", "ID"),
        ("some.new.list", "rows", "Id", "ID"),
    ],
)
def test_results_under_a_key_and_other_id_names_are_understood(
    read, answer, method, wrapper, id_name, filter_id
):
    portal = ListPortal(answer, range(1, 261), wrapper=wrapper, id_name=id_name)

    assert read(portal, method) == list(range(1, 261))
    assert portal.asked[0]["order"] == {filter_id: "ASC"}
    assert portal.asked[0]["filter"] == {f">{filter_id}": "0"}
    assert portal.asked[0]["start"] == "-1"


def test_another_field_can_number_the_records(read, answer):
    portal = ListPortal(answer, range(1, 261), id_name="NUMBER")

    assert read(portal, id_field="NUMBER") == list(range(1, 261))
    assert portal.asked[0]["order"] == {"NUMBER": "ASC"}


def test_the_callers_parameters_stay(read, answer):
    portal = ListPortal(answer, range(1, 301))

    read(portal, params={"FILTER": {"STAGE": "NEW", ">ID": 20}, "SELECT": ["TITLE"], "entityTypeId": 3})

    first, last = portal.asked[0], portal.asked[-1]
    assert first["FILTER"] == {"STAGE": "NEW", ">ID": "20"}
    assert last["FILTER"]["STAGE"] == "NEW"
    assert first["SELECT"] == ["TITLE", "ID"], "the id is needed to go on"
    assert first["entityTypeId"] == "3"


def test_reading_goes_on_where_an_earlier_reading_stopped(read, answer):
    portal = ListPortal(answer, range(1, 301))

    assert read(portal, params={"filter": {">ID": 120}}) == list(range(121, 301))


@pytest.mark.parametrize("limit", [0, 1, 50, 51, 260, 5000])
def test_a_limit_is_kept_and_no_page_behind_it_is_read(read, answer, limit):
    portal = ListPortal(answer, range(1, 1001))

    assert read(portal, limit=limit) == list(range(1, min(limit, 1000) + 1))
    assert portal.pages <= max(2, -(-limit // 50) + 1)


def test_a_method_with_smaller_pages_is_read_to_its_end(read, answer):
    portal = ListPortal(answer, range(1, 500), page=20)

    assert read(portal) == list(range(1, 500))


@pytest.mark.parametrize("method", ["crm.lead.list", "user.get"])
def test_what_is_added_while_reading_does_not_make_it_endless(read, answer, method):
    portal = ListPortal(answer, range(1, 301), orders=method != "user.get")
    original = portal.list

    def growing(params):
        last = len(portal.rows)
        portal.rows += [{"ID": str(last + number)} for number in range(1, 101)]
        return original(params)

    portal.list = growing
    read_ids = read(portal, method)
    assert read_ids == list(range(1, len(read_ids) + 1))
    assert len(read_ids) >= 300


def test_what_is_deleted_while_reading_does_not_stop_it(read, answer):
    portal = ListPortal(answer, range(1, 1001))
    original = portal.list

    def shrinking(params):
        page = original(params)
        portal.rows = [row for row in portal.rows if not 300 < int(row["ID"]) < 700 or len(portal.asked) < 3]
        return page

    portal.list = shrinking
    ids = read(portal)
    assert ids == sorted(set(ids))
    assert set(ids) >= {*range(1, 100), *range(700, 1001)}


# By offset


@pytest.mark.parametrize(
    "method", ["bizproc.workflow.instances", "user.get", "bizproc.workflow.template.list"]
)
def test_methods_that_cannot_filter_by_id_are_read_by_offset_in_batches(read, answer, method):
    portal = ListPortal(answer, range(1, 2701), orders=False)

    assert read(portal, method) == list(range(1, 2701))
    assert portal.requests == 3
    assert portal.pages == 54


@pytest.mark.parametrize("count", [0, 1, 50, 51])
def test_short_lists_by_offset(read, answer, count):
    portal = ListPortal(answer, range(1, count + 1), orders=False)

    assert read(portal, "user.get") == list(range(1, count + 1))
    assert portal.pages == (2 if count == 51 else 1)


def test_a_method_that_turns_out_not_to_order_by_id_is_read_by_offset(read, answer):
    portal = ListPortal(answer, [*range(500, 700), *range(1, 300)], orders=False)

    assert read(portal) == [*range(500, 700), *range(1, 300)]


def test_records_without_ids_are_read_by_offset(read, answer, drive, open_session):
    portal = ListPortal(answer, range(1, 121))
    portal.rows = [{"NAME": row["TITLE"]} for row in portal.rows]
    portal.orders = False
    driver = drive(portal)

    driver.hold(converse_list(Call("some.list"), open_session()))

    assert driver.records == portal.rows


def test_the_callers_own_order_is_kept(read, answer):
    portal = ListPortal(answer, range(300, 0, -1), orders=False)

    assert read(portal, params={"order": {"TITLE": "DESC"}}) == list(range(300, 0, -1))
    assert all(asked["order"] == {"TITLE": "DESC"} for asked in portal.asked)


def test_a_limit_is_kept_by_offset(read, answer):
    portal = ListPortal(answer, range(1, 1001), orders=False)

    assert read(portal, "user.get", limit=120) == list(range(1, 121))
    assert portal.pages == 3


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("user.get", {"sort": "ID", "order": "DESC"}),
        ("department.get", {"sort": "NAME", "order": "ASC", "PARENT": 1}),
        ("some.new.list", {"ORDER": "ASC"}),
        ("some.new.list", {"sort": "NAME"}),
    ],
)
def test_an_order_that_is_a_text_is_kept_and_the_list_read_by_offset(read, answer, method, params):
    portal = ListPortal(answer, range(300, 0, -1), orders=False)

    assert read(portal, method, params) == list(range(300, 0, -1))
    assert all(asked[name] == str(value) for asked in portal.asked for name, value in params.items())


def test_a_method_that_refuses_to_filter_by_id_is_read_by_offset(read, answer):
    portal = ListPortal(answer, range(1, 301))
    original = portal.list

    def picky(params):
        if any(name.startswith(">") for name in params.get("filter") or {}):
            return {"error": "ERROR_ARGUMENT", "error_description": "Unknown filter field"}
        return original(params)

    portal.list = picky
    assert read(portal) == list(range(1, 301))


def test_what_reading_by_offset_is_refused_for_is_the_error(read, answer):
    portal = ListPortal(answer, range(1, 301))
    portal.list = lambda params: {"error": "ERROR_ARGUMENT", "error_description": "entityTypeId is missing"}

    with pytest.raises(Bitrix24Error, match="entityTypeId is missing"):
        read(portal)


@pytest.mark.parametrize("next_start", ["always 50", "as if", "none"])
@pytest.mark.parametrize("total", [True, False])
def test_a_method_that_ignores_start_is_not_read_for_ever_and_no_record_comes_twice(
    read, answer, next_start, total
):
    portal = ListPortal(answer, range(1, 301), orders=False)
    original = portal.list

    def stuck(params):
        page = original({**params, "start": "0"})
        page["next"] = {"always 50": 50, "as if": int(params.get("start") or 0) + 50, "none": None}[
            next_start
        ]
        return page if total else {name: part for name, part in page.items() if name != "total"}

    portal.list = stuck
    if next_start == "none":
        assert read(portal, "user.get") == list(range(1, 51))
    else:
        with pytest.raises(Bitrix24Error, match="ignores 'start'"):
            read(portal, "user.get")
        assert [int(row["ID"]) for row in read.driver.records] == list(range(1, 51))


def test_a_method_that_ignores_start_and_numbers_no_records_is_not_read_for_ever(answer, drive, open_session):
    portal = ListPortal(answer, range(50), orders=False)
    rows = [{"NAME": f"name {number}"} for number in range(50)]
    portal.list = lambda params: {"result": rows, "next": int(params.get("start") or 0) + 50}
    driver = drive(portal)

    with pytest.raises(Bitrix24Error, match="ignores 'start'"):
        driver.hold(converse_list(Call("user.get"), open_session()))
    assert driver.records == rows


def test_pages_of_records_that_are_all_the_same_are_all_read(answer, drive, open_session):
    portal = ListPortal(answer, range(1, 301), orders=False)
    original = portal.list
    portal.list = lambda params: {
        **(page := original(params)),
        "result": [{"SEX": "F"} for _ in page["result"]],
    }
    driver = drive(portal)

    driver.hold(converse_list(Call("user.get"), open_session()))
    assert driver.records == [{"SEX": "F"}] * 300


def test_a_caller_may_say_how_a_method_is_read(read, answer):
    portal = ListPortal(answer, range(1, 301), id_name="number")
    known = {"vendor.list": MethodFacts(id_field="number")}

    assert read(portal, "vendor.list", methods=known) == list(range(1, 301))
    assert portal.asked[0]["filter"] == {">number": "0"}

    portal = ListPortal(answer, range(1, 301), orders=False)
    known = {"vendor.": MethodFacts(read_by="offset", order={"ID": "ASC"})}
    assert read(portal, "vendor.list", methods=known) == list(range(1, 301))
    assert all("filter" not in asked and asked["order"] == {"ID": "ASC"} for asked in portal.asked)


# Sizes


@pytest.mark.parametrize("method", ["crm.lead.list", "user.get"])
@pytest.mark.parametrize("too_many", [2, 3, 9, 30])
def test_requests_get_smaller_when_pages_are_slow(read, answer, method, too_many):
    portal = ListPortal(answer, range(1, 5001), orders=method != "user.get")
    portal.too_many = too_many

    assert read(portal, method) == list(range(1, 5001))


@pytest.mark.parametrize("method", ["crm.lead.list", "user.get"])
@pytest.mark.parametrize("size", [1, 7])
def test_a_request_holds_no_more_pages_than_it_may(read, answer, method, size):
    portal = ListPortal(answer, range(1, 701), orders=method != "user.get")

    assert read(portal, method, batch_size=size) == list(range(1, 701))
    assert max(portal.sizes) == size


# Trouble


def test_reading_goes_on_after_a_limit(read, answer):
    portal = ListPortal(answer, range(1, 701))
    portal.errors = [None, None, None, None, "OPERATION_TIME_LIMIT"]

    assert read(portal) == list(range(1, 701))
    assert read.driver.sleeps == [60.0]


@pytest.mark.parametrize("method", ["crm.lead.list", "user.get"])
def test_reading_goes_on_after_failures(read, answer, method):
    portal = ListPortal(answer, range(1, 701), orders=method != "user.get")
    portal.troubles = [
        NoResponse(TransportFailure.TIMEOUT, "x"),
        None,
        NoResponse(TransportFailure.BROKEN, "x"),
    ]
    portal.errors = [None, None, None, "INTERNAL_SERVER_ERROR", None, "INTERNAL_SERVER_ERROR"]

    assert read(portal, method) == list(range(1, 701))


@pytest.mark.parametrize("method", ["crm.lead.list", "user.get"])
def test_a_page_that_fails_for_good_is_an_error_after_what_was_read(read, answer, method):
    portal = ListPortal(answer, range(1, 701), orders=method != "user.get")
    portal.errors = [None, None, None, "ERROR_METHOD_NOT_FOUND"]

    with pytest.raises(Bitrix24Error, match=f"{method} at example"):
        read(portal, method)
    ids = [int(row["ID"]) for row in read.driver.records]
    assert ids == list(range(1, len(ids) + 1))
    assert ids


def test_a_page_that_fails_again_and_again_is_an_error(read, answer):
    portal = ListPortal(answer, range(1, 701))
    portal.errors = [None, None] + ["INTERNAL_SERVER_ERROR"] * 99

    with pytest.raises(Bitrix24Error, match="INTERNAL_SERVER_ERROR"):
        read(portal)


def test_a_closed_method_with_a_deadline_is_an_error(read, answer):
    portal = ListPortal(answer, range(1, 701))
    portal.errors = [None, None, "OPERATION_TIME_LIMIT"]

    with pytest.raises(OperationTimeLimitError) as caught:
        read(portal, deadline=30)
    assert caught.value.retry_after == pytest.approx(60.0)


def test_a_portal_that_stays_away_is_an_error(read, answer):
    portal = ListPortal(answer, range(1, 701))
    portal.troubles = [NoResponse(TransportFailure.REFUSED, "x")] * 99

    with pytest.raises(TransportError):
        read(portal)


@pytest.mark.parametrize("nothing", ["first page", "empty"])
def test_a_portal_that_resolves_no_references_is_read_page_by_page(read, answer, nothing):
    portal = ListPortal(answer, range(1, 701))

    def resolve(value, results):
        if isinstance(value, dict):
            return {key: resolve(item, results) for key, item in value.items()}
        unresolved = "" if nothing == "first page" else "99999"
        return unresolved if isinstance(value, str) and value.startswith("$result[") else value

    portal.resolve = resolve
    assert read(portal) == list(range(1, 701))


def test_a_page_that_does_not_advance_is_an_error_instead_of_an_endless_loop(read, answer):
    portal = ListPortal(answer, range(1, 1001))
    original = portal.list
    portal.list = lambda params: original({**params, "filter": {}})

    with pytest.raises(Bitrix24Error, match="does not begin behind it"):
        read(portal)


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        ({"start": 50}, "start"),
        ({"filter": [1]}, "must be a mapping"),
        ({"filter": {">ID": "x"}}, "must be a number"),
        ({"filter": {"TITLE": "$result[c0]"}}, "cannot carry"),
    ],
)
def test_parameters_that_make_no_sense_are_errors(read, answer, params, reason):
    with pytest.raises(ValueError, match=reason):
        read(ListPortal(answer, []), params=params)


def test_a_negative_limit_is_an_error(read, answer):
    with pytest.raises(ValueError, match="limit"):
        read(ListPortal(answer, []), limit=-1)


def test_an_answer_without_a_list_is_an_error(read, answer, drive, open_session):
    with pytest.raises(Bitrix24Error, match="profile at .* holds no list"):
        drive([answer({"result": {"result": {"c0": True, "c1": True}}})]).hold(
            converse_list(Call("profile"), open_session())
        )
