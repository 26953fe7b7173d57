def maps(model, swin, x, image):
    tokens = model.get_intermediate_layers(x, n=1)[0]
    a = model.get_intermediate_layers(x, n=1, reshape=True)[0]
    b = a.permute(0, 2, 3, 1).permute(0, 3, 1, 2)
    c = model.forward_intermediates(x, output_fmt="NHWC", intermediates_only=True)[0].permute(0, 3, 1, 2)
    d = swin(x).permute(0, 3, 1, 2)
    e = image.permute(0, 3, 1, 2)
    return tokens, a, b, c, d, e
