model = dict(
    type="EncoderDecoder",
    decode_head=dict(
        type="FCNHead",
        num_classes=5,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, class_weight=[0.8, 1.0, 1.2]),
    ),
)
