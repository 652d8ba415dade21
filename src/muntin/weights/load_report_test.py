from muntin.weights.load_report import LoadReport

REPORT = LoadReport(
    layout="official",
    taken=dict.fromkeys(
        ["backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias", "backbone.merges.0.norm.weight"]
        + [f"backbone.stages.{s}.{b}.mlp.fc1.weight" for s in range(2) for b in range(2)]
        + ["readout.norm.weight", "readout.norm.bias"],
        "",
    ),
    resized={f"backbone.stages.1.{b}.mix.position.table": "7x7 -> 12x12 window, bicubic" for b in range(18)},
    remade={f"layers.1.blocks.{b}.attn.relative_position_index": "follows from sizes" for b in range(18)},
    dropped={"mask_token": "used by pre-training alone", "neck.conv.0.weight": "neck", "neck.conv.0.bias": "neck"},
    reinitialised={
        "readout.head.weight": "a fresh head of 5 classes",
        "readout.head.bias": "a fresh head of 5 classes",
    },
    notes=("the backbone of a detector",),
)


def test_one_line_says_how_many_tensors_had_which_fate_and_why():
    assert str(REPORT) == (
        "official layout: 9 tensors taken, 18 resized (7x7 -> 12x12 window, bicubic), 18 remade (follows from sizes), "
        "3 dropped (used by pre-training alone; neck), 2 reinitialised (a fresh head of 5 classes); "
        "the backbone of a detector"
    )


def test_the_table_has_a_line_a_group_and_counts_every_tensor():
    lines = REPORT.table().splitlines()
    cells = [line.split() for line in lines[:-1]]
    assert [row[:4] for row in cells] == [
        ["backbone.patch_embed.*", "2", "tensors", "taken"],
        ["backbone.merges.0.*", "1", "tensor", "taken"],
        ["backbone.stages.0.*", "2", "tensors", "taken"],
        ["backbone.stages.1.*", "2", "tensors", "taken"],
        ["readout.norm.*", "2", "tensors", "taken"],
        ["backbone.stages.1.*.mix.position.table", "18", "tensors", "resized"],
        ["layers.*.blocks.*.attn.relative_position_index", "18", "tensors", "remade"],
        ["mask_token", "1", "tensor", "dropped"],
        ["neck.conv.0.*", "2", "tensors", "dropped"],
        ["readout.head.weight", "1", "tensor", "reinitialised"],
        ["readout.head.bias", "1", "tensor", "reinitialised"],
    ]
    assert lines[5].endswith("resized        7x7 -> 12x12 window, bicubic")
    assert lines[-1] == "the backbone of a detector"
