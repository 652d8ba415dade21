from muntin.errors import RunError, UserError, nearest, unknown


def test_the_nearest_names_come_first_whatever_their_case():
    known = ["swin_tiny", "swin_base", "SwinTiny", "resnet50"]
    assert nearest("swin_tinny", known)[0] == "swin_tiny"
    assert nearest("SWINTINY", known)[0] == "SwinTiny"
    assert nearest("zzz", known) == []


def test_an_unknown_name_is_answered_with_the_nearest():
    error = unknown("model", "swin_tinny", ["swin_tiny", "vit"], see="list: muntin models")
    assert str(error) == "unknown model 'swin_tinny': did you mean swin_tiny? (list: muntin models)"


def test_a_name_like_no_other_is_answered_with_the_list():
    assert str(unknown("field", "zzz", ["dim", "depths"])) == "unknown field 'zzz': known: dim, depths"
    assert str(unknown("field", "zzz", [f"name{i}" for i in range(20)])).endswith("name11, ...")


def test_mistakes_of_users_are_value_errors_and_failed_runs_are_not():
    assert issubclass(UserError, ValueError)
    assert not issubclass(RunError, ValueError)


def test_a_sentence_is_one_line_whatever_a_file_names_its_parts():
    assert str(UserError("key käfer\n\x1b]0;x")) == r"key käfer\n\x1b]0;x"
